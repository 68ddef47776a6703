"""UDP flows from packets that scapy synthesised, and packets missing between two captures."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from experiments.tables.pcap.datagram_flows import DatagramCapture, check_ways, read_datagrams
from experiments.tables.pcap.flows import join_backends
from experiments.tables.schema import TABLES, DatasetError, connections_frame

LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
CLIENT, BALANCER = ("10.0.0.1", 40000), ("10.0.0.9", 8080)


def udp(up: bool, size: int, sport: int = CLIENT[1], number: int = 1) -> Packet:
    source, destination = (CLIENT, BALANCER) if up else (BALANCER, CLIENT)
    ports = (sport, BALANCER[1]) if up else (BALANCER[1], sport)
    ip = IP(src=source[0], dst=destination[0], id=number)
    return ip / UDP(sport=ports[0], dport=ports[1]) / Raw(b"x" * size)


def captured(folder: Path, point: str, packets: Sequence[Packet | None]) -> DatagramCapture:
    """What `point` saw, one packet each 10 ms; None: it saw nothing then."""
    path = folder / f"{point}.pcap"
    frames = []
    for number, packet in enumerate(packets):
        if packet is not None:
            frames.append(LINK / packet)
            frames[-1].time = 100 + number * 0.01
    wrpcap(str(path), frames)
    return read_datagrams(path, point, clock_offset_s=90, t0_s=9)


def test_a_flow_is_all_between_two_endpoints(tmp_path: Path) -> None:
    flows = captured(
        tmp_path, "c1", [udp(True, 30), udp(False, 500), udp(True, 30), udp(True, 10, sport=40001)]
    ).flows
    assert list(flows.columns) == TABLES["flows"].names
    first, second = flows.to_dict("records")
    assert (first["client_address"], first["client_port"]) == CLIENT
    assert (first["server_address"], first["server_port"]) == BALANCER
    assert (first["packets_up"], first["packets_down"]) == (2, 1)
    assert (first["payload_bytes_up"], first["payload_bytes_down"]) == (60, 500)
    assert first["wire_bytes_down"] == 14 + 20 + 8 + 500
    assert first["first_s"] == pytest.approx(1.0)
    assert first["last_up_s"] == pytest.approx(1.02)
    assert (second["client_port"], second["packets_up"], second["protocol"]) == (40001, 1, "udp")


def test_fragments_belong_to_their_datagram(tmp_path: Path) -> None:
    parts = fragment(udp(False, 4000), fragsize=1480)
    seen = captured(tmp_path, "c1", [udp(True, 30), *parts])
    (flow,) = seen.flows.to_dict("records")
    assert len(parts) == 3
    assert (flow["packets_down"], flow["payload_bytes_down"]) == (3, 4000)
    assert seen.count((BALANCER[0], CLIENT[0])) == 3


def test_fragments_without_their_first_are_counted_but_in_no_flow(tmp_path: Path) -> None:
    parts = fragment(udp(False, 4000), fragsize=1480)
    seen = captured(tmp_path, "c1", parts[1:])
    assert len(seen.flows) == 0
    assert seen.count((BALANCER[0], CLIENT[0])) == 2


def test_icmp_is_counted_and_no_flow(tmp_path: Path) -> None:
    error = IP(src=CLIENT[0], dst=BALANCER[0]) / ICMP(type=3, code=3) / Raw(b"x" * 36)
    seen = captured(tmp_path, "c1", [error])
    assert len(seen.flows) == 0
    assert seen.count((CLIENT[0], BALANCER[0])) == 1


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c1.pcap"
    path.write_text("nothing of the kind")
    with pytest.raises(DatasetError, match="not a capture"):
        read_datagrams(path, "c1")


def test_a_backend_that_no_record_names_is_known_by_its_address(tmp_path: Path) -> None:
    flows = captured(tmp_path, "lb", [udp(True, 30)]).flows
    none = connections_frame([], 0.0)
    assert join_backends(flows, none)["backend"].isna().all()
    assert join_backends(flows, none, {"10.0.0.9:8080": "b1"})["backend"].to_list() == ["b1"]


ADDRESSES = {"c1": CLIENT[0], "lb": BALANCER[0]}


@pytest.mark.parametrize(
    ("arrived", "dropped", "ok"),
    [(10, 0, True), (8, 2, True), (8, 0, False), (8, 1, False), (10, 2, False), (9, 2, False)],
)
def test_what_is_missing_must_be_what_the_link_dropped(
    tmp_path: Path, arrived: int, dropped: int, ok: bool
) -> None:
    quiet = [udp(False, 5)]
    client = captured(tmp_path, "c1", [udp(True, 30)] * 10 + quiet * 200)
    lost = [None] * (10 - arrived)
    balancer = captured(tmp_path, "lb", [udp(True, 30)] * arrived + lost + quiet * 200)
    up, down = check_ways(client, balancer, ADDRESSES, {"c1->s1": dropped}, {"c1->s1": dropped})
    assert (up.direction, up.missing, up.ok) == ("c1->s1", 10 - arrived, ok)
    assert (down.direction, down.missing, down.ok) == ("s1->c1", 0, True)


def test_what_may_have_been_under_way_at_the_end_may_be_missing(tmp_path: Path) -> None:
    client = captured(tmp_path, "c1", [udp(True, 30)] * 10)  # within a tenth of a second
    balancer = captured(tmp_path, "lb", [udp(True, 30)] * 8)
    up, _ = check_ways(client, balancer, ADDRESSES, {}, {})
    assert up.ok


def test_captures_that_end_one_after_another_are_compared_until_the_first_end(
    tmp_path: Path,
) -> None:
    """Late answers, and the errors that closed sockets reply with, still flow at the end."""
    both = [udp(True, 30), udp(False, 5)]
    client = captured(tmp_path, "c1", both * 400)
    balancer = captured(tmp_path, "lb", both * 200)
    up, down = check_ways(client, balancer, ADDRESSES, {}, {})
    assert (up.missing, up.ok) == (0, True)
    assert (down.missing, down.ok) == (0, True)


def test_what_the_link_dropped_after_the_first_end_need_not_be_missing(tmp_path: Path) -> None:
    both = [udp(True, 30), udp(False, 5)]
    client = captured(tmp_path, "c1", both * 400)
    balancer = captured(tmp_path, "lb", both * 200)
    up, down = check_ways(client, balancer, ADDRESSES, {"s1->c1": 7}, {"s1->c1": 7})
    assert up.ok
    assert down.ok


def test_the_last_answer_is_not_missing_because_it_arrives_after_it_was_sent(
    tmp_path: Path,
) -> None:
    sent = [udp(True, 30), udp(False, 5)] * 100
    client = captured(tmp_path, "c1", [None, *sent])
    balancer = captured(tmp_path, "lb", sent)
    _, down = check_ways(client, balancer, ADDRESSES, {}, {})
    assert (down.missing, down.ok) == (0, True)
