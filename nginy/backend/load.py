"""What a backend says of its own load, unasked in a report or asked by a probe. JSON objects.

A report is one line:

    {"cpu": 12.5, "mem": 40, "net": 3, "io": 0.5}

The four are the original project's, utilisation in percent, 0 to 100, all required. Optional: "id"
(of the backend, where several share an address), "in_flight" (requests being served) and
"latency_ms". Other keys are ignored. Without "id" the utilisation is that of the host, so of all
its backends, and the other two are taken only where there is one.

A probe is a datagram that asks how busy the backend is, and so is the answer:

    {"probe": 4711}
    {"probe": 4711, "in_flight": 3, "latency_ms": 1.25}

The number is the asker's, to tell answers apart. `in_flight` is what the backend serves at that
moment, `latency_ms` its own estimate of what a request takes now (Prequal: the median of recent
ones served at about this load).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from math import isfinite
from typing import NamedTuple

import orjson

LARGEST_COUNT = 2**31 - 1
LARGEST_MS = 1e9
LARGEST_PROBE = 2**53 - 1
"""So that programs whose only numbers are doubles can answer."""
LARGEST_ANSWER_BYTES = 1_024


class InvalidReport(ValueError):
    """What a backend sent is neither report nor answer; the message says why."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report. Utilisation in percent of what there is, 0 to 100."""

    cpu_pct: float = 0.0
    mem_pct: float = 0.0
    net_pct: float = 0.0
    io_pct: float = 0.0
    in_flight: int | None = None
    """Requests being served (a probe's answer pushed unasked)."""
    latency_s: float | None = None
    """The backend's own estimate of its latency."""


class ProbeAnswer(NamedTuple):
    """What a backend says of itself."""

    probe: int
    in_flight: int
    latency_s: float


def parse_report(line: bytes) -> tuple[str | None, LoadReport]:
    """The id, if the line has one, and the report. Raises InvalidReport."""
    data = _json_object(line)
    backend_id = data.get("id")
    if not isinstance(backend_id, str | None):
        raise InvalidReport(f"id is {backend_id!r}, not a text")
    latency_ms = None if data.get("latency_ms") is None else _number(data, "latency_ms", LARGEST_MS)
    return backend_id, LoadReport(
        cpu_pct=_number(data, "cpu", 100.0),
        mem_pct=_number(data, "mem", 100.0),
        net_pct=_number(data, "net", 100.0),
        io_pct=_number(data, "io", 100.0),
        in_flight=None if data.get("in_flight") is None else _count(data, "in_flight"),
        latency_s=None if latency_ms is None else latency_ms / 1e3,
    )


def probe_request(probe: int) -> bytes:
    """The datagram that asks."""
    return orjson.dumps({"probe": probe})


def parse_probe_answer(datagram: bytes) -> ProbeAnswer:
    """What `datagram` answers. Raises InvalidReport."""
    if len(datagram) > LARGEST_ANSWER_BYTES:
        raise InvalidReport(f"longer than {LARGEST_ANSWER_BYTES} bytes")
    data = _json_object(datagram)
    return ProbeAnswer(
        probe=_count(data, "probe", LARGEST_PROBE),
        in_flight=_count(data, "in_flight"),
        latency_s=_number(data, "latency_ms", LARGEST_MS) / 1e3,
    )


def canonical_host(host: str) -> str:
    """An address as sockets tell it, as configurations write it: no scope, IPv4 not mapped."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or address)


def _json_object(line: bytes) -> Mapping[str, object]:
    """The JSON object in `line`. Raises InvalidReport."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidReport(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidReport("not a JSON object")
    return data


def _number(data: Mapping[str, object], key: str, largest: float) -> float:
    """A number from 0 to `largest`. Raises InvalidReport."""
    value = data.get(key)
    if value is None:
        raise InvalidReport(f"{key} is missing")
    # True is an int; a number too large for a float is inf.
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InvalidReport(f"{key} is {value!r}, not a number")
    if not 0 <= value <= largest:
        raise InvalidReport(f"{key} is {value!r}, not from 0 to {largest:g}")
    return float(value)


def _count(data: Mapping[str, object], key: str, largest: int = LARGEST_COUNT) -> int:
    """A whole number from 0 to `largest`, at most 2**53. Raises InvalidReport."""
    value = _number(data, key, largest)
    if value != int(value):
        raise InvalidReport(f"{key} is {value!r}, not a whole number")
    return int(value)
