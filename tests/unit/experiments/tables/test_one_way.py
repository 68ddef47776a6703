"""Packets at both ends of their way."""

import struct
from pathlib import Path

import pytest

from experiments.tables.pcap.one_way import one_way, read_stamps

CLIENT, BALANCER = bytes([10, 0, 0, 2]), bytes([10, 0, 0, 1])
ENDS = CLIENT, BALANCER


def packet(
    number: int, ends: tuple[bytes, bytes] = ENDS, *, size: int = 1000, protocol: int = 6
) -> bytes:
    """An IPv4 packet with ports 5000 and 80."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, size, number, 0, 64, protocol, 0)
    return header + ends[0] + ends[1] + struct.pack("!HH", 5000, 80) + bytes(36)


def pcap(path: Path, packets: list[tuple[float, bytes]]) -> Path:
    """Nanoseconds, Ethernet."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 128, 1))
        for time_s, data in packets:
            frame = bytes(12) + (b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd") + data
            whole, rest = divmod(round(time_s * 1e9), 10**9)
            file.write(struct.pack("<IIII", whole, rest, len(frame), len(frame)) + frame)
    return path


def test_the_delay_of_each_packet_that_arrived() -> None:
    sent = {packet(1): 1.0, packet(2): 2.0, packet(3): 3.0, packet(4, ENDS[::-1]): 1.0}
    arrived = {packet(1): 1.02, packet(3): 3.036, packet(4, ENDS[::-1]): 1.02, packet(9): 9.0}
    found = one_way(sent, arrived, ENDS, None)
    assert found["delay_ms"].tolist() == pytest.approx([20.0, 36.0])
    assert found["sent_s"].tolist() == [1.0, 3.0]
    assert set(found["source_port"]) == {5000}
    assert set(found["destination_port"]) == {80}


def test_what_a_bucket_does_not_let_pass_at_once_waits_the_lost_ones_included() -> None:
    """100 Mbit/s: 0.1 ms for each packet, and a bucket of a millisecond lets ten pass."""
    sent = {packet(number, size=1236): 1.0 + number * 1e-9 for number in range(14)}
    arrived = {packet(number, size=1236): 1.02 for number in (0, 9, 10, 13)}
    waited = one_way(sent, arrived, ENDS, 100.0)["queue_ms"].tolist()
    assert waited == pytest.approx([0.0, 0.0, 0.1, 0.4], abs=1e-4)


def test_a_bucket_fills_again_while_nothing_comes() -> None:
    burst = {packet(number, size=1236): 1.0 + number * 1e-9 for number in range(10)}
    later = {packet(20 + number, size=1236): 1.0005 + number * 1e-9 for number in range(7)}
    sent = burst | later  # half a millisecond gives back half of the bucket
    waited = one_way(sent, dict.fromkeys(sent, 1.02), ENDS, 100.0)["queue_ms"].tolist()
    assert waited[:15] == pytest.approx([0.0] * 15, abs=1e-4)
    assert waited[15:] == pytest.approx([0.1, 0.2], abs=1e-4)


def test_other_protocols_have_no_ports() -> None:
    icmp = packet(1, protocol=1)
    assert one_way({icmp: 1.0}, {icmp: 1.0}, ENDS, None)["source_port"].tolist() == [0]


def test_copies_that_cannot_be_told_apart_are_left_out(tmp_path: Path) -> None:
    seen = [(1.0, packet(1)), (1.5, packet(2)), (2.0, packet(1))]
    assert read_stamps(pcap(tmp_path / "c1.pcap", seen)) == {packet(2): 1.5}


def test_what_is_not_ipv4_is_passed_over(tmp_path: Path) -> None:
    assert read_stamps(pcap(tmp_path / "c1.pcap", [(1.0, b"\x60" + bytes(60))])) == {}
