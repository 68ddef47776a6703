"""A frame in words: what terminal and page both show, so that they cannot differ. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nginy.view.fairness import Fairness
from nginy.view.frame import BackendFrame, Frame, Rates, RuleFrame
from nginy.view.text import (
    NOTHING,
    Row,
    cell,
    in_bytes,
    in_time,
    listed,
    or_nothing,
    per_second,
    printable,
)

MOST_NOTES = 5
"""Of a rule: many backends that are down have one reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPicture:
    """A backend."""

    id: str
    troubled: bool
    rate: float | None
    """New connections per second, to be drawn over time."""
    cells: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePicture:
    """A rule."""

    key: str
    title: str
    facts: tuple[str, ...]
    rows: tuple[RowPicture, ...]
    notes: tuple[str, ...]
    """What went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A process."""

    facts: tuple[str, ...]
    rules: tuple[RulePicture, ...]


def picture(frame: Frame) -> Picture:
    """All of a frame."""
    return Picture(
        facts=tuple(_process_facts(frame)),
        rules=tuple(_rule_picture(rule) for rule in frame.rules),
    )


def _process_facts(frame: Frame) -> Iterator[str]:
    said = [f"up for {in_time(frame.uptime_s)}"]
    said += [f"{protocol} {count} open" for protocol, count in frame.open.items()]
    if lag := frame.loop_lag:
        late = f"p99 {lag['p99_ms']:.1f} ms, at most {lag['max_ms']:.1f} ms"
        said.append(f"event loop late in the last minute: {late}")
    yield " · ".join(said)
    if frame.dropped:
        rate = or_nothing(frame.dropped_per_s, per_second)
        yield f"dropped datagrams: {listed(frame.dropped)} ({rate}/s)"
    if frame.left_out:
        yield f"{frame.left_out} more rules are not shown: choose one with --rule"


def _rule_picture(rule: RuleFrame) -> RulePicture:
    clients = ", ".join(rule.clients)
    return RulePicture(
        key=printable(f"{rule.name} {rule.protocol} {clients}"),
        title=cell(rule.name) + printable(f" ({rule.protocol}, {clients}, {rule.algorithm})"),
        facts=tuple(_rule_facts(rule)),
        rows=tuple(_row_picture(backend) for backend in rule.backends),
        notes=tuple(_notes(rule)),
    )


def _rule_facts(rule: RuleFrame) -> Iterator[str]:
    waiting = f" ({rule.waiting} waiting)" if rule.waiting else ""
    all_backends = len(rule.backends) + rule.left_out
    yield f"{rates(rule.rates)}; {rule.open} open{waiting}; " + (
        f"{rule.usable} of {all_backends} backends usable"
    )
    refused = f"; of these refused: {listed(rule.refused)}" if rule.refused else ""
    yield f"since its start: {rule.picked} picked; closed: {listed(rule.closed)}{refused}"
    if all_backends > 1:
        yield evenness(rule.fairness)


def rates(found: Rates | None) -> str:
    """What is new, fails and flows per second, in words."""
    if found is None:
        return "rates are not known yet"
    said = [f"{per_second(found.picked_per_s)} new/s", f"{per_second(found.failed_per_s)} failed/s"]
    if found.refused_per_s:
        said.append(f"{per_second(found.refused_per_s)} refused/s")
    said.append(f"{in_bytes(found.up_bytes_per_s)}/s up, {in_bytes(found.down_bytes_per_s)}/s down")
    return ", ".join(said)


def evenness(found: Fairness | None) -> str:
    """Jain's index and what it means, in words."""
    if found is None:
        return "fairness: too few new connections since the shares changed last"
    return (
        f"fairness: Jain {found.jain:.4f} over {found.picks} picks in {found.seconds:.1f} s,"
        f" by chance above {found.low:.4f}: {found.evenness}"
    )


def _row_picture(backend: BackendFrame) -> RowPicture:
    found = backend.rates
    cells = {
        "backend": backend.id,
        "address": backend.address,
        "state": _state(backend),
        "since": "" if backend.since_s is None else in_time(backend.since_s),
        "weight": str(backend.weight),
        "share": f"{backend.share_pct:.3g} %" if backend.share_pct else NOTHING,
        "got": or_nothing(backend.got_pct, lambda pct: f"{pct:.1f} %"),
        "open": open_words(backend.open, backend.active, backend.max_connections),
        "new/s": _rate(found, lambda one: per_second(one.picked_per_s)),
        "failed": _failed(backend),
        "connect": _rate(found, lambda one: or_nothing(one.connect_ms, lambda ms: f"{ms:.3g} ms")),
        "up/s": _rate(found, lambda one: in_bytes(one.up_bytes_per_s)),
        "down/s": _rate(found, lambda one: in_bytes(one.down_bytes_per_s)),
        "check": "" if backend.check is None else check_words(backend.check),
        "score": backend.score,
    }
    return RowPicture(
        id=printable(backend.id),
        troubled=backend.troubled,
        rate=None if found is None else found.picked_per_s,
        cells={name: cell(text) for name, text in cells.items()},
    )


def _rate(found: Rates | None, told: Callable[[Rates], str]) -> str:
    return NOTHING if found is None else told(found)


def _failed(backend: BackendFrame) -> str:
    total = sum(backend.failed.values())
    rate = backend.rates.failed_per_s if backend.rates else 0.0
    return (f"{total} ({per_second(rate)}/s)" if rate else str(total)) if total else ""


def _state(backend: BackendFrame) -> str:
    state = f"{'✕' if backend.troubled else '●'} {backend.state}"
    if backend.in_spite_of:
        state += f" though {backend.in_spite_of}"
    if backend.wanted_by:
        state += f" ({', '.join(backend.wanted_by)})"
    return f"{state}, backup" if backend.backup else state


def open_words(here: int, everywhere: int, limit: int) -> str:
    """Of a rule, of the others, and how many there may be: `3 (+2)/100`."""
    others = f" (+{everywhere - here})" if everywhere != here else ""
    return f"{here}{others}" + (f"/{limit}" if limit else "")


def check_words(check: Mapping[str, Any]) -> str:
    """The last health check, and when that was."""
    return f"{_verdict(check)} {in_time(check['age_s'])} ago"


def check_problem(check: Mapping[str, Any] | None) -> str:
    """Why it did not pass; empty: it did, or there was none."""
    if check is None or check["passed"]:
        return ""
    return f"check {_verdict(check)} after {check['duration_ms']:.3g} ms: {check['words']}"


def _verdict(check: Mapping[str, Any]) -> str:
    return {True: "passed", False: "failed", None: "not made"}[check["passed"]]


def _notes(rule: RuleFrame) -> Iterator[str]:
    if rule.gone:
        yield cell(f"no longer there: {', '.join(rule.gone)}")
    if rule.left_out:
        yield f"{rule.left_out} more backends are not shown; those in trouble come first"
    said = [note for note in map(_note, rule.backends) if note]
    yield from said[:MOST_NOTES]
    if len(said) > MOST_NOTES:
        yield f"and {len(said) - MOST_NOTES} more with a problem"


def _note(backend: BackendFrame) -> str:
    """What is wrong with it now; empty: nothing."""
    said = [problem] if (problem := check_problem(backend.check)) else []
    if backend.rates is not None and backend.rates.failed_per_s:
        said.append(f"attempts failed so far: {listed(backend.failed)}")
    return printable(f"{backend.id}: {'; '.join(said)}") if said else ""


def line_of(frame: Frame) -> str:
    """A frame in one line."""
    lag = frame.loop_lag
    late = f"; loop late p99 {lag['p99_ms']:.1f} ms" if lag else ""
    return " | ".join(map(_rule_line, frame.rules)) + late


MOST_IN_A_LINE = 8


def _rule_line(rule: RuleFrame) -> str:
    shown = rule.backends
    if len(shown) > MOST_IN_A_LINE:
        shown = tuple(sorted(shown, key=lambda each: not each.troubled))[:MOST_IN_A_LINE]
    each = ", ".join(map(_backend_words, shown))
    others = len(rule.backends) + rule.left_out - len(shown)
    more = f" and {others} more" if others else ""
    return f"{cell(rule.name)} {rates(rule.rates)}; {rule.open} open; {each}{more}"


def _backend_words(backend: BackendFrame) -> str:
    rate = _rate(backend.rates, lambda one: per_second(one.picked_per_s))
    state = "" if backend.state == "usable" else f" {backend.state}"
    return cell(backend.id) + f" {rate}/s" + state
