"""One connection, packet by packet, as both of its ends might draw it."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pandas as pd

from experiments.tables.pcap.flows import read_capture
from experiments.tables.pcap.segments import FIN, RST, SYN, Segment, segments

_MODULUS = 2**32


def read_sequence(path: Path, client_address: str, client_port: int) -> pd.DataFrame:
    """The packets of the TCP connections of that client's address and port in a pcap file.

    Columns: `time_s` (of the capture's clock), `way` (`up`: from the client), `kind` (`syn`,
    `data`, `ack`, `fin`, `rst`), `first_byte` and `payload_bytes` (relative to the beginning of
    that way's stream), `again` (its bytes, or its SYN, were sent before). Raises DatasetError.
    """
    packed = bytes(map(int, client_address.split("."))), client_port
    found = read_capture(
        path,
        lambda frames, link_type: [
            each
            for each in segments(frames, link_type)
            if packed in (each.source, each.destination)
        ],
    )
    rows = chain(_rows("up", found, packed, up=True), _rows("down", found, packed, up=False))
    columns = ["time_s", "way", "kind", "first_byte", "payload_bytes", "again"]
    return pd.DataFrame(rows, columns=columns).sort_values("time_s", ignore_index=True)


def _rows(
    way: str, found: list[Segment], client: tuple[bytes, int], *, up: bool
) -> Iterator[tuple[float, str, str, int, int, bool]]:
    mine = [segment for segment in found if (segment.source == client) == up]
    if not mine:
        return
    start, furthest, opened = mine[0].sequence, -1, False
    for segment in mine:
        first = (segment.sequence - start + _MODULUS // 2) % _MODULUS - _MODULUS // 2
        kind = _kind(segment)
        again = (kind == "data" and first < furthest) or (kind == "syn" and opened)
        opened |= kind == "syn"
        if kind == "data":
            furthest = max(furthest, first + segment.payload_bytes)
        yield segment.time_s, way, kind, first, segment.payload_bytes, again


def _kind(segment: Segment) -> str:
    for flag, name in ((RST, "rst"), (SYN, "syn"), (FIN, "fin")):
        if segment.flags & flag:
            return name
    return "data" if segment.payload_bytes else "ack"
