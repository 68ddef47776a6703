"""Load reports as backends write them: one JSON object per line.

    {"cpu": 12.5, "mem": 40, "net": 3, "io": 0.5}

The four are the original project's, utilisation in percent, 0 to 100, all required. Optional: "id"
(of the backend, where several share an address), "in_flight" (requests being served) and
"latency_ms". Other keys are ignored.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address
from math import isfinite

import orjson

from nginy.backend.load import LoadReport

LARGEST_COUNT = 2**31 - 1
LARGEST_MS = 1e9


class InvalidReport(ValueError):
    """What a backend sent is no report; the message says why."""


def parse_report(line: bytes) -> tuple[str | None, LoadReport]:
    """The id, if the line has one, and the report. Raises InvalidReport."""
    data = json_object(line)
    backend_id = data.get("id")
    if not isinstance(backend_id, str | None):
        raise InvalidReport(f"id is {backend_id!r}, not a text")
    latency_ms = None if data.get("latency_ms") is None else number(data, "latency_ms", LARGEST_MS)
    return backend_id, LoadReport(
        cpu_pct=number(data, "cpu", 100.0),
        mem_pct=number(data, "mem", 100.0),
        net_pct=number(data, "net", 100.0),
        io_pct=number(data, "io", 100.0),
        in_flight=None if data.get("in_flight") is None else count(data, "in_flight"),
        latency_s=None if latency_ms is None else latency_ms / 1e3,
    )


def json_object(line: bytes) -> Mapping[str, object]:
    """The JSON object in `line`. Raises InvalidReport."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidReport(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InvalidReport("not a JSON object")
    return data


def number(data: Mapping[str, object], key: str, largest: float) -> float:
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


def count(data: Mapping[str, object], key: str, largest: int = LARGEST_COUNT) -> int:
    """A whole number from 0 to `largest`, at most 2**53. Raises InvalidReport."""
    value = number(data, key, largest)
    if value != int(value):
        raise InvalidReport(f"{key} is {value!r}, not a whole number")
    return int(value)


def plain_host(host: str) -> str:
    """An address as sockets tell it, as configurations write it: no scope, IPv4 not mapped."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or address)
