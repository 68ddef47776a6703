"""A status for people: per rule a headline, a table of its backends, and what is wrong with them.

Of the JSON document that `nginy.server.status_socket` serves; its fields are those of
`nginy.traffic.status`. Whatever is named from outside is printed without control characters.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nginy.cli.common import aligned

WIDEST_CELL = 40
MOST_NOTES = 20
"""Per rule: a thousand backends that are down have one reason."""
LEFT_OUT_FIRST = ("address", "check", "connect", "weight", "failed")
"""Columns, where a line is not long enough for all; what is then still too long is cut."""

SCORE_LEFT = 20
"""As much of the last column may be all that is left of it, before others are left out."""

Row = Mapping[str, str]
"""A backend by column."""


def status_lines(document: Mapping[str, Any], width: int | None = None) -> Iterator[str]:
    """The lines, at most `width` characters each (None: the terminal's)."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    for line in _lines(document, width):
        yield line if len(line) <= width else line[: width - 1] + "…"


def _lines(document: Mapping[str, Any], width: int) -> Iterator[str]:
    for protocol, closed in document["closed"].items():
        count = document["open"][protocol]
        if closed or count or any(rule["protocol"] == protocol for rule in document["rules"]):
            yield f"{protocol}: {count} open; closed: {_listed(closed)}"
    if document["dropped"]:
        yield f"dropped datagrams: {_listed(document['dropped'])}"
    if lag := document.get("loop_lag"):
        yield f"event loop late: p99 {lag['p99_ms']:.1f} ms, at most {lag['max_ms']:.1f} ms"
    for rule in document["rules"]:
        yield ""
        yield from _rule_lines(rule, width)


def _rule_lines(rule: Mapping[str, Any], width: int) -> Iterator[str]:
    clients = ", ".join(rule["clients"])
    yield printable(
        f"rule {rule['name']} ({rule['protocol']}, {clients}, {rule['strategy']['type']})"
    )
    counts = rule["counts"]
    waiting = f" ({rule['waiting']} waiting)" if rule["waiting"] else ""
    yield (
        f"  {rule['open']} open{waiting}, {counts['picked']} picked,"
        f" {in_bytes(counts['bytes_up'])} up, {in_bytes(counts['bytes_down'])} down"
    )
    refused = f"; of these refused: {_listed(rule['refused'])}" if rule["refused"] else ""
    yield f"  closed: {_listed(rule['closed'])}{refused}"
    yield from _table([_row(backend) for backend in rule["backends"]], width - 2)
    notes = [note for note in map(_note, rule["backends"]) if note]
    yield from (f"  {note}" for note in notes[:MOST_NOTES])
    if len(notes) > MOST_NOTES:
        yield f"  and {len(notes) - MOST_NOTES} more: see --json"


def _table(rows: Sequence[Row], width: int) -> Iterator[str]:
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    width += max(0, max((len(row["score"]) for row in rows), default=0) - SCORE_LEFT)
    for left_out in ("", *LEFT_OUT_FIRST):
        columns = [name for name in columns if name != left_out]
        lines = list(aligned([columns, *([row[name] for name in columns] for row in rows)]))
        if max(map(len, lines), default=0) <= width:
            break
    yield from (f"  {line}" for line in lines)


def _row(backend: Mapping[str, Any]) -> Row:
    limit = f"/{backend['max_connections']}" if backend["max_connections"] else ""
    elsewhere = backend["active"] - backend["open"]
    others = f" (+{elsewhere})" if elsewhere else ""
    check, counts = backend["last_check"], backend["counts"]
    cells = {
        "backend": backend["id"],
        "address": backend["address"],
        "state": _state(backend),
        "weight": str(backend["weight"]),
        "share": f"{backend['share_pct']:.3g} %" if backend["share_pct"] else "-",
        "open": f"{backend['open']}{others}{limit}",
        "picked": str(counts["picked"]),
        "failed": str(sum(counts["failed"].values()) or ""),
        "connect": "" if counts["connect_ms"] is None else f"{counts['connect_ms']:.3g} ms",
        "up": in_bytes(counts["bytes_up"]),
        "down": in_bytes(counts["bytes_down"]),
        "check": "" if check is None else f"{_verdict(check)} {in_time(check['age_s'])} ago",
        "score": backend["score"],
    }
    return {name: _cell(text) for name, text in cells.items()}


def _cell(text: str) -> str:
    text = printable(text)
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 1] + "…"


def _state(backend: Mapping[str, Any]) -> str:
    state: str = backend["state"]
    if backend["in_spite_of"]:
        state += f" though {backend['in_spite_of']}"
    if backend["wanted_by"]:
        state += f" ({', '.join(backend['wanted_by'])})"
    if backend["since_s"] is not None:
        state += f" for {in_time(backend['since_s'])}"
    return f"{state}, backup" if backend["backup"] else state


def _note(backend: Mapping[str, Any]) -> str:
    """What went wrong with it; empty: nothing."""
    said = []
    check, failed = backend["last_check"], backend["counts"]["failed"]
    if check is not None and not check["passed"]:
        took = f"{check['duration_ms']:.3g} ms"
        said.append(f"check {_verdict(check)} after {took}: {check['words']}")
    if failed:
        said.append(f"attempts failed: {_listed(failed)}")
    return printable(f"{backend['id']}: {'; '.join(said)}") if said else ""


def _verdict(check: Mapping[str, Any]) -> str:
    return {True: "passed", False: "failed", None: "not made"}[check["passed"]]


def _listed(counts: Mapping[str, int]) -> str:
    return printable(", ".join(f"{what} {count}" for what, count in counts.items())) or "none"


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would obey instead of show."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class _Unit(NamedTuple):
    size: float
    name: str


BYTES = (_Unit(1e12, "TB"), _Unit(1e9, "GB"), _Unit(1e6, "MB"), _Unit(1e3, "kB"), _Unit(1, "B"))
TIMES = (_Unit(86_400, "d"), _Unit(3_600, "h"), _Unit(60, "min"), _Unit(1, "s"), _Unit(1e-3, "ms"))


def in_bytes(count: int) -> str:
    """`950 B`, `1.23 MB`."""
    return _in_units(count, BYTES)


def in_time(seconds: float) -> str:
    """`12.3 s`, `4 min`."""
    return _in_units(seconds, TIMES)


def _in_units(value: float, units: Sequence[_Unit]) -> str:
    """In the largest unit that the value reaches."""
    unit = next((unit for unit in units if value >= unit.size), units[-1])
    number = value / unit.size
    return f"{number:.{2 if number < 10 and number % 1 else 0}f} {unit.name}"
