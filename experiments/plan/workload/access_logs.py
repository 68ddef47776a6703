"""Access logs of servers and balancers to the rows of a trace (`workload: {kind: trace}`). Pure.

What a log does not say stays 0: a web server's knows no size of requests. How long a backend needs
for a request is taken from the time that the log gives for it, which holds its transfer, too.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request, or one connection where the log is of those."""

    time_s: float
    """When it began, seconds since 1970 (of nginy: on its own clock)."""
    client: str
    request_bytes: int
    response_bytes: int
    demand_ms: float


class Parsed(NamedTuple):
    """What was made of a log."""

    rows: list[Asked]
    bad: int
    """Lines that are not of the format."""
    first_bad: str


_WEB = re.compile(
    r'(?P<client>\S+) \S+ \S+ \[(?P<time>[^\]]+)\] "[^"]*" \d{3} (?P<bytes>\d+|-)'
    r'(?: "[^"]*" "[^"]*")?(?: (?P<seconds>\d+\.\d+))?\s*$'
)
_STREAM = re.compile(
    r"(?P<client>\S+) \[(?P<time>[^\]]+)\] (?:TCP|UDP) \d{3} (?P<down>\d+) (?P<up>\d+) "
    r"(?P<seconds>\d+\.\d+)\s*$"
)
_HAPROXY = re.compile(
    r"(?:.*\]: )?(?P<client>\S+):\d+ \[(?P<time>[^\]]+)\] \S+ \S+/\S+ "
    r"(?P<queue>-?\d+)/(?P<connect>-?\d+)/(?P<total>\d+) (?P<bytes>\d+) "
)


def _web(line: str, usual_ms: float) -> Asked | None:
    """`combined` of nginx and Apache, with `$request_time` at its end if it is there; the time is
    that of the end."""
    found = _WEB.match(line)
    if found is None:
        return None
    seconds = float(found["seconds"] or usual_ms / 1e3)
    ended_s = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    size = 0 if found["bytes"] == "-" else int(found["bytes"])
    return Asked(ended_s - seconds, found["client"], 0, size, seconds * 1e3)


def _stream(line: str, usual_ms: float) -> Asked | None:
    """nginx's stream module, the format of its documentation: `$remote_addr [$time_local] $protocol
    $status $bytes_sent $bytes_received $session_time`."""
    found = _STREAM.match(line)
    if found is None:
        return None
    seconds = float(found["seconds"])
    ended_s = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    sizes = int(found["up"]), int(found["down"])
    return Asked(ended_s - seconds, found["client"], *sizes, seconds * 1e3)


def _haproxy(line: str, usual_ms: float) -> Asked | None:
    """HAProxy's `option tcplog`; its time is that of the beginning."""
    found = _HAPROXY.match(line)
    if found is None:
        return None
    began = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S.%f")
    waited = max(0, int(found["queue"])) + max(0, int(found["connect"]))
    served_ms = max(0, int(found["total"]) - waited)
    return Asked(began.timestamp(), found["client"], 0, int(found["bytes"]), float(served_ms))


def _nginy(line: str, usual_ms: float) -> Asked | None:
    """nginy's close records, and connections.jsonl of a run."""
    record: Any = json.loads(line)
    served_ms = record["duration_ms"] - (record["connect_ms"] or 0.0)
    client = str(record["client"]).rpartition(":")[0]
    return Asked(
        record["opened_s"], client, record["bytes_up"], record["bytes_down"], max(0.0, served_ms)
    )


FORMATS: Mapping[str, Callable[[str, float], Asked | None]] = {
    "web": _web,
    "nginx-stream": _stream,
    "haproxy": _haproxy,
    "nginy": _nginy,
}


def parse_log(lines: Iterable[str], name: str, usual_ms: float) -> Parsed:
    """The rows of a log of that format, in order of time. `usual_ms`: of a request whose log says
    nothing about its time."""
    rows: list[Asked] = []
    bad, first_bad = 0, ""
    for row, line in _read(lines, FORMATS[name], usual_ms):
        if row is None:
            bad += 1
            first_bad = first_bad or line
        else:
            rows.append(row)
    return Parsed(sorted(rows), bad, first_bad)


def guess(lines: Iterable[str]) -> str | None:
    """The format that reads the first lines; None: none does."""
    some = list(lines)
    for name, parse in FORMATS.items():
        read = [row for row, _ in _read(some, parse, 0.0)]
        if read and sum(row is not None for row in read) * 2 > len(read):
            return name
    return None


def _read(
    lines: Iterable[str], parse: Callable[[str, float], Asked | None], usual_ms: float
) -> Iterator[tuple[Asked | None, str]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            yield parse(line, usual_ms), line.rstrip("\n")
        except (ValueError, KeyError, TypeError, AttributeError):
            yield None, line.rstrip("\n")
