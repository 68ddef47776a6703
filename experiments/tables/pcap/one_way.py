"""How long each packet was on its way, from captures at both ends.

The hosts of a run are network namespaces of one kernel, so both captures stamp by one clock, and
the difference of two stamps is a delay: whatever carried the packet (this project's emulator, or
netem), and wherever it waited.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from experiments.tables.pcap.flows import read_capture
from experiments.tables.pcap.segments import TYPE_OFFSET_AND_LENGTH
from topologies.emulate.rate import burst_bytes

_KEY_BYTES = 60
"""From the IP header on. Hosts on one switch change nothing of it, and the identification field
of IPv4 tells a packet from the next copy of the same segment (Linux counts it per socket)."""
_TOTAL_LENGTH, _SOURCE, _DESTINATION = slice(2, 4), slice(12, 16), slice(16, 20)
_ETHERNET_BYTES = 14
_IPV4 = b"\x08\x00"
_TCP_OR_UDP = (6, 17)

Stamps = Mapping[bytes, float]
"""By what tells a packet from every other: when it passed, seconds. Those that cannot be told apart
are left out."""


def read_stamps(path: Path) -> Stamps:
    """Of a pcap file's IPv4 packets. DatasetError if the file is no capture."""
    return read_capture(path, _stamps)


def _stamps(packets: Iterable[tuple[float, bytes]], link_type: int) -> Stamps:
    type_at, header_bytes = TYPE_OFFSET_AND_LENGTH[link_type]
    found: dict[bytes, float] = {}
    twice: set[bytes] = set()
    for time_s, frame in packets:
        if frame[type_at : type_at + 2] != _IPV4:
            continue
        key = frame[header_bytes : header_bytes + _KEY_BYTES]
        if key in found:
            twice.add(key)
        found[key] = time_s
    for key in twice:
        del found[key]
    return found


def one_way(
    sent: Stamps, arrived: Stamps, ends: tuple[bytes, bytes], rate_mbps: float | None
) -> pd.DataFrame:
    """The packets from one packed IPv4 address to another that are in both, in order of time.

    `sent_s` as stamped, `delay_ms`, `queue_ms`, `source_port` and `destination_port` (0 without
    ports). A packet that was lost is in one alone. `queue_ms`: how long the packet may have waited
    for those before it at the token bucket of a link of that rate (`topologies/emulate/rate.py`).
    0 without a rate.
    """
    going = sorted(
        (sent_s, key) for key, sent_s in sent.items() if (key[_SOURCE], key[_DESTINATION]) == ends
    )
    rows = [
        (sent_s, (arrived[key] - sent_s) * 1e3, queue_s * 1e3, *_ports(key))
        for (sent_s, key), queue_s in zip(going, _queued_s(going, rate_mbps), strict=True)
        if key in arrived
    ]
    columns = ["sent_s", "delay_ms", "queue_ms", "source_port", "destination_port"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(columns[:3], float))


def _queued_s(going: list[tuple[float, bytes]], rate_mbps: float | None) -> Iterator[float]:
    """A token bucket as a virtual schedule (ITU-T I.371, GCRA): without the bucket's credit, what
    came in a burst would seem to have waited up to a millisecond, and lateness be understated."""
    if rate_mbps is None:
        yield from (0.0 for _ in going)
        return
    bits_per_s = rate_mbps * 1e6
    credit_s = 8 * burst_bytes(rate_mbps) / bits_per_s
    due_s = float("-inf")
    for sent_s, key in going:
        bits = 8 * (int.from_bytes(key[_TOTAL_LENGTH]) + _ETHERNET_BYTES)
        due_s = max(due_s, sent_s) + bits / bits_per_s
        yield max(0.0, due_s - credit_s - sent_s)


def _ports(key: bytes) -> tuple[int, int]:
    if key[9] not in _TCP_OR_UDP:
        return 0, 0
    at = (key[0] & 0x0F) * 4
    return int.from_bytes(key[at : at + 2]), int.from_bytes(key[at + 2 : at + 4])
