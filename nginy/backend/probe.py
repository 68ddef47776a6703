"""Probes: a datagram that asks a backend how busy it is, and the answer. JSON, one object each.

    {"probe": 4711}
    {"probe": 4711, "in_flight": 3, "latency_ms": 1.25}

The number is the asker's, to tell answers apart. `in_flight` is what the backend serves at that
moment, `latency_ms` its own estimate of what a request takes now (Prequal: the median of recent
ones served at about this load).
"""

from typing import NamedTuple

import orjson

from nginy.backend.load_report import LARGEST_MS, InvalidReport, count, json_object, number

LARGEST_NUMBER = 2**53 - 1
"""So that programs whose only numbers are doubles can answer."""
LARGEST_ANSWER_BYTES = 1_024


class ProbeAnswer(NamedTuple):
    """What a backend says of itself."""

    probe: int
    in_flight: int
    latency_s: float


def probe_request(probe: int) -> bytes:
    """The datagram that asks."""
    return orjson.dumps({"probe": probe})


def parse_answer(datagram: bytes) -> ProbeAnswer:
    """What `datagram` answers. Raises InvalidReport."""
    if len(datagram) > LARGEST_ANSWER_BYTES:
        raise InvalidReport(f"longer than {LARGEST_ANSWER_BYTES} bytes")
    data = json_object(datagram)
    return ProbeAnswer(
        probe=count(data, "probe", LARGEST_NUMBER),
        in_flight=count(data, "in_flight"),
        latency_s=number(data, "latency_ms", LARGEST_MS) / 1e3,
    )
