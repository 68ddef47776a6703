"""Flows from packets that scapy synthesised."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether
from scapy.packet import Packet, Raw

from experiments.tables.pcap.flows import (
    check_retransmissions,
    join_backends,
    read_flows,
    uncaptured,
)
from experiments.tables.pcap.segments import COOKED_V1, COOKED_V2, ETHERNET, segments
from experiments.tables.pcap.tcp import Flow, track
from experiments.tables.schema import DatasetError, connections_frame, flows_frame

LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.9", 80)


def tcp(up: bool, flags: str, seq: int, ack: int = 0, payload: int = 0, **more: Any) -> Packet:
    (source, sport), (destination, dport) = (CLIENT, SERVER) if up else (SERVER, CLIENT)
    header = TCP(
        sport=more.pop("sport", sport),
        dport=more.pop("dport", dport),
        flags=flags,
        seq=seq % 2**32,
        ack=ack % 2**32,
        **more,
    )
    return IP(src=source, dst=destination) / header / Raw(b"x" * payload)


def frames(packets: Sequence[Packet], step_s: float = 0.01) -> list[tuple[float, bytes]]:
    return [(100 + i * step_s, bytes(LINK / packet)) for i, packet in enumerate(packets)]


def flows_of(packets: Sequence[Packet]) -> list[Flow]:
    return track(segments(frames(packets), ETHERNET))


def handshake(isn: int = 1000, server_isn: int = 5000) -> list[Packet]:
    return [
        tcp(True, "S", isn),
        tcp(False, "SA", server_isn, isn + 1),
        tcp(True, "A", isn + 1, server_isn + 1),
    ]


def test_a_whole_connection() -> None:
    packets = [
        *handshake(),
        tcp(True, "PA", 1001, 5001, payload=32),
        tcp(False, "A", 5001, 1033),
        tcp(False, "PA", 5001, 1033, payload=700),
        tcp(True, "FA", 1033, 5701),
        tcp(False, "FA", 5701, 1034),
        tcp(True, "A", 1034, 5702),
    ]
    (flow,) = flows_of(packets)
    assert (flow.up.packets, flow.down.packets) == (5, 4)
    assert (flow.up.payload_bytes, flow.down.payload_bytes) == (32, 700)
    assert flow.up.wire_bytes == 5 * 54 + 32
    assert (flow.up.retransmissions, flow.down.retransmissions) == (0, 0)
    assert flow.ended == "fin"
    assert flow.server_rtt_ms == pytest.approx(10.0, abs=1e-3)
    assert flow.client_rtt_ms == pytest.approx(10.0, abs=1e-3)
    assert flow.handshake_rtt_ms == pytest.approx(20.0, abs=1e-3)
    assert flow.last_s - flow.first_s == pytest.approx(0.08)


def test_repeated_data_and_fin_are_retransmissions() -> None:
    packets = [
        *handshake(),
        tcp(True, "A", 1001, 5001, payload=100),
        tcp(True, "A", 1101, 5001, payload=100),
        tcp(True, "A", 1001, 5001, payload=100),
        tcp(True, "A", 1151, 5001, payload=100),  # starts in what was sent, ends beyond it
        tcp(True, "A", 1251, 5001, payload=100),
        tcp(True, "FA", 1351, 5001),
        tcp(True, "FA", 1351, 5001),
    ]
    (flow,) = flows_of(packets)
    assert flow.up.retransmissions == 3
    assert flow.ended == "open"


@pytest.mark.parametrize(("step_s", "repeats", "overtaken"), [(0.01, 1, 0), (0.001, 0, 1)])
def test_who_fills_a_gap_late_was_sent_again_and_who_fills_it_at_once_was_overtaken(
    step_s: float, repeats: int, overtaken: int
) -> None:
    packets = [
        *handshake(),
        tcp(False, "A", 5001, 1001, payload=100),
        tcp(False, "A", 5301, 1001, payload=100),
        tcp(False, "A", 5101, 1001, payload=100),
        tcp(False, "A", 5401, 1001, payload=100),
    ]
    (flow,) = track(segments(frames(packets, step_s), ETHERNET))
    assert (flow.down.retransmissions, flow.down.out_of_order) == (repeats, overtaken)
    assert [gap[:2] for gap in flow.down.gaps] == [(5201, 5301)]


def test_what_filled_a_gap_and_comes_again_is_a_retransmission() -> None:
    starts = (5001, 5301, 5101, 5101, 5201)
    packets = [tcp(False, "A", start, 1001, payload=100) for start in starts]
    (flow,) = track(segments(frames([*handshake(), *packets], 0.0005), ETHERNET))
    assert (flow.down.retransmissions, flow.down.out_of_order) == (1, 2)
    assert flow.down.gaps == []


def test_syn_retries_are_apart_and_spoil_the_rtt() -> None:
    packets = [tcp(True, "S", 1000), *handshake(), tcp(True, "PA", 1001, 5001, payload=9)]
    (flow,) = flows_of(packets)
    assert (flow.syn_retries, flow.synack_retries, flow.up.retransmissions) == (1, 0, 0)
    assert flow.handshake_rtt_ms is None
    assert flow.server_rtt_ms is None


def test_synack_retries_are_apart_and_spoil_the_rtt() -> None:
    syn, synack, ack = handshake()
    (flow,) = flows_of([syn, synack, synack, ack])
    assert (flow.syn_retries, flow.synack_retries, flow.down.retransmissions) == (0, 1, 0)
    assert flow.client_rtt_ms is None


def test_keep_alives_and_window_probes_are_not_retransmissions() -> None:
    packets = [
        *handshake(),
        tcp(True, "A", 1001, 5001, payload=10),
        tcp(False, "A", 5001, 1011),
        tcp(True, "A", 1010, 5001),  # keep-alive without payload, as Linux sends it
        tcp(True, "A", 1010, 5001, payload=1),  # with the last byte again
        tcp(False, "A", 5001, 1011, window=0),
        tcp(True, "A", 1011, 5001, payload=1),  # probe with one new byte, and again
        tcp(True, "A", 1011, 5001, payload=1),
    ]
    (flow,) = flows_of(packets)
    assert flow.up.retransmissions == 0


def test_one_lost_byte_sent_again_is_a_retransmission() -> None:
    packets = [*handshake(), *[tcp(True, "PA", 1001, 5001, payload=1)] * 2]
    (flow,) = flows_of(packets)
    assert flow.up.retransmissions == 1


def test_how_a_connection_ended() -> None:
    refused = [tcp(True, "S", 1), tcp(False, "RA", 0, 2)]
    fins = [*handshake(), tcp(True, "FA", 1001, 5001), tcp(False, "FA", 5001, 1002)]
    assert flows_of(refused)[0].ended == "rst"
    assert flows_of(handshake())[0].ended == "open"
    assert flows_of(fins)[0].ended == "fin"
    assert flows_of([*fins, tcp(True, "R", 1002)])[0].ended == "fin"
    assert flows_of([*fins[:-1], tcp(False, "R", 5001)])[0].ended == "rst"


def test_the_same_ports_again_are_a_new_connection() -> None:
    first, second = flows_of([*handshake(), tcp(True, "R", 1001), *handshake(isn=90_000)])
    assert (first.up.packets, second.up.packets) == (3, 2)
    assert (first.syn_retries, second.syn_retries) == (0, 0)
    assert second.handshake_rtt_ms is not None


def test_a_capture_that_starts_in_the_middle() -> None:
    (flow,) = flows_of([tcp(False, "A", 5001, 1001, payload=5), tcp(True, "A", 1001, 5006)])
    assert flow.client[1] == CLIENT[1]
    assert flow.handshake_rtt_ms is None
    assert flow.down.payload_bytes == 5
    (answered,) = flows_of([tcp(False, "SA", 5000, 1001), tcp(True, "A", 1001, 5001)])
    assert answered.client[1] == CLIENT[1]
    assert answered.handshake_rtt_ms is None


@given(
    isn=st.sampled_from([0, 1, 2**31 - 700, 2**32 - 1, 2**32 - 600]),
    sends=st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=20),
)
def test_retransmissions_are_counted_exactly_whatever_the_initial_sequence_number(
    isn: int, sends: list[tuple[int, bool]]
) -> None:
    packets, at, repeats = handshake(isn=isn), isn + 1, 0
    for length, repeat in sends:
        data = tcp(True, "A", at, 5001, payload=length)
        packets += [data, data] if repeat else [data]
        repeats += repeat
        at += length
    (flow,) = flows_of(packets)
    assert flow.up.retransmissions == repeats
    assert flow.up.payload_bytes == sum(n * (1 + again) for n, again in sends)


@given(st.lists(st.binary(max_size=90), max_size=20))
def test_arbitrary_frames_never_fail(junk: list[bytes]) -> None:
    for link_type in (ETHERNET, COOKED_V1, COOKED_V2):
        track(segments([(0.0, frame) for frame in junk], link_type))


@given(cut=st.integers(0, 60), length=st.integers(0, 300))
def test_frames_cut_after_the_fixed_tcp_header_still_count_whole(cut: int, length: int) -> None:
    frame = bytes(LINK / tcp(True, "A", 7, 1, payload=length))[: 14 + 20 + cut]
    found = list(segments([(0.0, frame)], ETHERNET))
    assert [segment.payload_bytes for segment in found] == ([length] if cut >= 16 else [])


def over_ipv6(*extensions: Packet) -> Packet:
    packet = IPv6(src="2001:db8::1", dst="2001:db8::9")
    for extension in extensions:
        packet = packet / extension
    return packet / TCP(sport=1025, dport=80, flags="PA", seq=1) / Raw(b"hello")


@pytest.mark.parametrize(
    "packet",
    [over_ipv6(), over_ipv6(IPv6ExtHdrDestOpt()), over_ipv6(IPv6ExtHdrFragment(offset=0))],
    ids=["plain", "options", "first fragment"],
)
def test_ipv6(packet: Packet) -> None:
    (flow,) = flows_of([packet])
    assert flow.up.payload_bytes == 5
    assert len(flow.client[0]) == 16


def test_what_is_not_tcp_is_passed_over() -> None:
    udp = IP(src="10.0.0.1", dst="10.0.0.9") / UDP(sport=1, dport=2) / Raw(b"x" * 40)
    fragment = IP(src="10.0.0.1", dst="10.0.0.9", frag=100, proto=6) / Raw(b"x" * 40)
    assert flows_of([udp, fragment, over_ipv6(IPv6ExtHdrFragment(offset=100))]) == []


@pytest.mark.parametrize(
    ("cooked", "link_type"),
    [(CookedLinux(proto=0x0800), COOKED_V1), (CookedLinuxV2(proto=0x0800), COOKED_V2)],
)
def test_cooked_captures(cooked: Packet, link_type: int) -> None:
    packet = tcp(True, "PA", 1, 1, payload=33)
    (flow,) = track(segments([(1.0, bytes(cooked / packet))], link_type))
    assert flow.up.payload_bytes == 33
    assert flow.up.wire_bytes == 54 + 33


def pcap(path: Path, packets: Sequence[Packet], *, order: str, nano: bool, link: int = 1) -> Path:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    content = struct.pack(f"{order}IHHIIII", magic, 2, 4, 0, 0, 128, link)
    for index, packet in enumerate(packets):
        frame = bytes(LINK / packet)
        fraction = index * (10_000_000 if nano else 10_000)
        content += struct.pack(f"{order}IIII", 1_700_000_000, fraction, len(frame), len(frame))
        content += frame
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_files_of_every_byte_order_and_resolution(tmp_path: Path, order: str, nano: bool) -> None:
    path = pcap(tmp_path / "a.pcap", handshake(), order=order, nano=nano)
    flows = read_flows(path, "lb", clock_offset_s=1_699_999_000.0, t0_s=990.0)
    row = flows.iloc[0]
    assert (row["capture_point"], row["client_address"], row["client_port"]) == ("lb", *CLIENT)
    assert row["first_s"] == pytest.approx(10.0)
    assert row["handshake_rtt_ms"] == pytest.approx(20.0, abs=1e-3)


def test_a_file_cut_in_the_middle_of_a_packet_keeps_the_rest(tmp_path: Path) -> None:
    path = pcap(tmp_path / "a.pcap", handshake(), order="<", nano=True)
    path.write_bytes(path.read_bytes()[:-50])
    assert read_flows(path, "lb").loc[0, ["packets_up", "packets_down"]].to_list() == [1, 1]


def test_a_file_without_packets_has_no_flows(tmp_path: Path) -> None:
    assert len(read_flows(pcap(tmp_path / "a.pcap", [], order="<", nano=True), "lb")) == 0


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").touch()
    (tmp_path / "text.pcap").write_text("this is not a capture file at all")
    for name in ("empty.pcap", "text.pcap", "missing.pcap"):
        with pytest.raises(DatasetError, match=name):
            read_flows(tmp_path / name, "lb")
    wifi = pcap(tmp_path / "wifi.pcap", handshake(), order="<", nano=True, link=105)
    with pytest.raises(DatasetError, match="link type 105"):
        read_flows(wifi, "lb")


def flow_row(client: tuple[str, int], server: tuple[str, int], first_s: float, **more: Any) -> Any:
    counts = {
        f"{what}_{way}": 0
        for what in ("packets", "wire_bytes", "payload_bytes", "retransmissions", "out_of_order")
        for way in ("up", "down")
    }
    return {
        "capture_point": "lb",
        "client_address": client[0],
        "client_port": client[1],
        "server_address": server[0],
        "server_port": server[1],
        "first_s": first_s,
        "syn_retries": 0,
        "synack_retries": 0,
        **counts,
        **more,
    }


def connection(client: str, backend: str | None, opened_s: float) -> dict[str, Any]:
    address = {"b1": "10.0.0.11:80", "b2": "10.0.0.12:80"}.get(backend or "")
    return {
        "id": "1",
        "client": client,
        "backend": backend,
        "backend_address": address,
        "opened_s": opened_s,
        "closed_s": opened_s + 1,
        "backends_tried": [],
    }


def test_backends_are_joined_on_both_sides_and_ports_used_again_by_time() -> None:
    connections = connections_frame(
        [
            connection("10.0.0.1:40000", "b1", 1.0),
            connection("10.0.0.1:40000", "b2", 70.0),
            connection("10.0.0.1:40001", None, 2.0),
        ],
        0.0,
    )
    balancer = ("10.0.0.9", 80)
    flows = flows_frame(
        [
            flow_row(("10.0.0.1", 40000), balancer, 69.9),
            flow_row(("10.0.0.1", 40000), balancer, 0.9),
            flow_row(("10.0.0.1", 40001), balancer, 1.9),
            flow_row(("10.0.0.9", 51000), ("10.0.0.12", 80), 70.1),
        ]
    )
    joined = join_backends(flows, connections)["backend"]
    assert joined.fillna("none").to_list() == ["b2", "b1", "none", "b2"]


def test_joining_nothing_with_nothing() -> None:
    assert len(join_backends(flows_frame([]), connections_frame([], 0.0))) == 0
    alone = flows_frame([flow_row(("10.0.0.1", 1), ("10.0.0.9", 80), 0.0)])
    assert join_backends(alone, connections_frame([], 0.0))["backend"].isna().all()


def test_connections_that_no_capture_has_seen_are_counted_where_there_was_one() -> None:
    balancer = ("10.0.0.9", 80)
    flows = flows_frame(
        [
            flow_row(("10.0.1.1", 1), balancer, 0, capture_point="c1"),
            flow_row(("10.0.1.1", 1), balancer, 0, capture_point="lb"),
            flow_row(("10.0.1.2", 5), balancer, 0, capture_point="lb"),
        ]
    )
    requests = pd.DataFrame(
        [
            ("c1", "10.0.1.1:1", "ok"),
            ("c1", "10.0.1.1:1", "ok"),
            ("c1", "10.0.1.1:5312", "ok"),
            ("c1", "10.0.1.1:7", "timeout"),
            ("c2", "10.0.1.2:5", "ok"),
        ],
        columns=["client", "local", "status"],
    )
    assert uncaptured(requests, flows, ["lb"]) == {"c1": 1, "balancer": 1}
    assert uncaptured(requests, flows[flows["capture_point"] == "c1"], []) == {"c1": 1}


def own_flows() -> pd.DataFrame:
    client, balancer, backend = ("10.0.0.1", 1), ("10.0.0.9", 80), ("10.0.0.11", 80)
    return flows_frame(
        [
            flow_row(client, balancer, 0, retransmissions_up=50, retransmissions_down=3),
            flow_row(client, balancer, 0, synack_retries=1, syn_retries=60),
            flow_row(balancer, backend, 0, retransmissions_up=4, syn_retries=2),
            flow_row(balancer, backend, 0, capture_point="c1", retransmissions_up=70),
        ]
    )


def test_only_a_hosts_own_retransmissions_are_compared_with_its_kernel() -> None:
    (check,) = check_retransmissions(own_flows(), {"lb": 10}, {"lb": ["10.0.0.9"]})
    assert (check.captured, check.kernel, check.ok) == (10, 10, True)


@pytest.mark.parametrize(("kernel", "lost", "ok"), [(11, 0, False), (9, 5, False), (12, 2, True)])
def test_what_was_lost_before_the_capture_is_tolerated(kernel: int, lost: int, ok: bool) -> None:
    (check,) = check_retransmissions(
        own_flows(), {"lb": kernel}, {"lb": ["10.0.0.9"]}, lost_before_capture={"lb": lost}
    )
    assert check.ok is ok


@pytest.mark.parametrize(
    ("before", "after", "ok"), [(8, 12, True), (10, 10, True), (11, 12, False), (8, 9, False)]
)
def test_what_is_repeated_while_captures_end_may_be_in_them(
    before: int, after: int, ok: bool
) -> None:
    (check,) = check_retransmissions(
        own_flows(), {"lb": before}, {"lb": ["10.0.0.9"]}, {"lb": after}
    )
    assert check.ok is ok
