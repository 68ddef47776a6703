"""A status for people: per rule a headline, a table of its backends, and what is wrong with them.

Of the JSON document that `nginy.server.status_socket` serves; its fields are those of
`nginy.traffic.status`. Whatever is named from outside is printed without control characters.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nginy.view.picture import check_problem, check_words, open_words
from nginy.view.text import Row, cell, cut, in_bytes, in_time, listed, printable, table

MOST_NOTES = 20
"""Per rule: a thousand backends that are down have one reason."""
LEFT_OUT_FIRST = ("address", "check", "connect", "weight", "failed")
"""Columns, where a line is not long enough for all; what is then still too long is cut."""

SCORE_LEFT = 20
"""As much of the last column may be all that is left of it, before others are left out."""


def status_lines(document: Mapping[str, Any], width: int | None = None) -> Iterator[str]:
    """The lines, at most `width` characters each (None: the terminal's)."""
    width = width or shutil.get_terminal_size((120, 24)).columns
    for line in _lines(document, width):
        yield cut(line, width)


def _lines(document: Mapping[str, Any], width: int) -> Iterator[str]:
    for protocol, closed in document["closed"].items():
        count = document["open"][protocol]
        if closed or count or any(rule["protocol"] == protocol for rule in document["rules"]):
            yield f"{protocol}: {count} open; closed: {listed(closed)}"
    if document["dropped"]:
        yield f"dropped datagrams: {listed(document['dropped'])}"
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
    refused = f"; of these refused: {listed(rule['refused'])}" if rule["refused"] else ""
    yield f"  closed: {listed(rule['closed'])}{refused}"
    yield from _table([_row(backend) for backend in rule["backends"]], width - 2)
    notes = [note for note in map(_note, rule["backends"]) if note]
    yield from (f"  {note}" for note in notes[:MOST_NOTES])
    if len(notes) > MOST_NOTES:
        yield f"  and {len(notes) - MOST_NOTES} more: see --json"


def _table(rows: Sequence[Row], width: int) -> Iterator[str]:
    width += max(0, max((len(row["score"]) for row in rows), default=0) - SCORE_LEFT)
    yield from (f"  {line}" for line in table(rows, width, LEFT_OUT_FIRST))


def _row(backend: Mapping[str, Any]) -> Row:
    check, counts = backend["last_check"], backend["counts"]
    cells = {
        "backend": backend["id"],
        "address": backend["address"],
        "state": _state(backend),
        "weight": str(backend["weight"]),
        "share": f"{backend['share_pct']:.3g} %" if backend["share_pct"] else "-",
        "open": open_words(backend["open"], backend["active"], backend["max_connections"]),
        "picked": str(counts["picked"]),
        "failed": str(sum(counts["failed"].values()) or ""),
        "connect": "" if counts["connect_ms"] is None else f"{counts['connect_ms']:.3g} ms",
        "up": in_bytes(counts["bytes_up"]),
        "down": in_bytes(counts["bytes_down"]),
        "check": "" if check is None else check_words(check),
        "score": backend["score"],
    }
    return {name: cell(text) for name, text in cells.items()}


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
    failed = backend["counts"]["failed"]
    said = [problem] if (problem := check_problem(backend["last_check"])) else []
    if failed:
        said.append(f"attempts failed: {listed(failed)}")
    return printable(f"{backend['id']}: {'; '.join(said)}") if said else ""
