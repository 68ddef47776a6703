"""What terminal and page show of a process at a moment: made of its status documents alone. Pure.

A document counts since the process started. Rates are differences: to the oldest mark in the window
since when a thing was there without a break, so what is new has rates over its own time, and what
began to count anew, or another process, is never subtracted from what was before. What is not known
is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from nginy.traffic.status import NO_TARGET
from nginy.view.ask import Document
from nginy.view.fairness import Fairness, fairness
from nginy.view.marks import USABLE, Counts, Mark, RuleMark, mark
from nginy.view.marks import key as key_of

MOST_BACKENDS = 50
"""Of a rule; where there are more, those in trouble come first."""
MOST_RULES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Over the `seconds` before the frame."""

    seconds: float
    picked: int
    """Connections or sessions that were sent to a backend; each try counts."""
    picked_per_s: float
    failed_per_s: float
    closed_per_s: float
    """Ended or refused; of a rule only."""
    refused_per_s: float
    up_bytes_per_s: float
    down_bytes_per_s: float
    connect_ms: float | None
    """Mean until connected, of UDP until the first answer. None: nobody was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFrame:
    """A backend as one rule sees it; the fields of `BackendStatus`, and what was lately."""

    id: str
    address: str
    backup: bool
    state: str
    in_spite_of: str | None
    since_s: float | None
    wanted_by: tuple[str, ...]
    weight: int
    share_pct: float
    """Of new connections, as it should be now."""
    got_pct: float | None
    """Of the rule's picks in the window, as it was."""
    open: int
    active: int
    max_connections: int
    picked: int
    failed: Mapping[str, int]
    check: Mapping[str, Any] | None
    score: str
    rates: Rates | None

    @property
    def troubled(self) -> bool:
        """Whether somebody should look at it."""
        failing = self.rates is not None and self.rates.failed_per_s > 0
        unwell = self.check is not None and self.check["passed"] is False
        return (
            self.state not in (USABLE, NO_TARGET)
            or self.in_spite_of is not None
            or failing
            or unwell
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFrame:
    """A rule; the fields of `RuleStatus`, and what was lately."""

    name: str
    protocol: str
    clients: tuple[str, ...]
    algorithm: str
    open: int
    waiting: int
    picked: int
    closed: Mapping[str, int]
    refused: Mapping[str, int]
    rates: Rates | None
    fairness: Fairness | None
    """None: too few picks since the shares changed last, or nobody to compare."""
    usable: int
    """Backends."""
    backends: tuple[BackendFrame, ...]
    left_out: int
    """Backends that are not among them."""
    gone: tuple[str, ...]
    """Backends that the window has seen and that are no more."""

    @property
    def troubled(self) -> bool:
        """Whether a backend that is shown is."""
        return any(backend.troubled for backend in self.backends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A process at a moment."""

    started_at: str
    uptime_s: float
    open: Mapping[str, int]
    closed: Mapping[str, Mapping[str, int]]
    dropped: Mapping[str, int]
    dropped_per_s: float | None
    loop_lag: Mapping[str, float] | None
    rules: tuple[RuleFrame, ...]
    left_out: int
    """Rules that are not among them."""


def frame(earlier: Sequence[Mark], document: Document) -> Frame:
    """The frame of `document`; `earlier`: marks of the window before it, the oldest first."""
    now = mark(document)
    before = [one for one in reversed(earlier) if one.started_at == now.started_at]
    rules = [_rule_frame(rule, before, now) for rule in document["rules"]]
    first = before[-1] if before else None
    seconds = now.at_s - first.at_s if first else 0.0
    shown = _most(rules, MOST_RULES)
    return Frame(
        started_at=now.started_at,
        uptime_s=now.at_s,
        open=document["open"],
        closed=document["closed"],
        dropped=document["dropped"],
        dropped_per_s=(now.dropped - first.dropped) / seconds if first and seconds > 0 else None,
        loop_lag=document["loop_lag"],
        rules=tuple(shown),
        left_out=len(rules) - len(shown),
    )


class _Past(NamedTuple):
    """A rule's mark, and how long ago that was."""

    ago_s: float
    mark: RuleMark | None


def _rule_frame(rule: Mapping[str, Any], before: Sequence[Mark], now: Mark) -> RuleFrame:
    """`before`: the newest first."""
    key = key_of(rule)
    past = [_Past(now.at_s - one.at_s, one.rules.get(key)) for one in before]
    own = now.rules[key]
    rates = _rates([(ago_s, one and one.counts) for ago_s, one in past], own.counts)
    by_id = {
        name: _rates([(ago_s, one and one.backends.get(name)) for ago_s, one in past], counts)
        for name, counts in own.backends.items()
    }
    picked = sum(each.picked for each in by_id.values() if each)
    backends = [_backend_frame(each, by_id[each["id"]], picked) for each in rule["backends"]]
    shown = _most(backends, MOST_BACKENDS)
    seen = {name: None for _, one in reversed(past) if one for name in one.backends}
    return RuleFrame(
        name=rule["name"],
        protocol=rule["protocol"],
        clients=tuple(rule["clients"]),
        algorithm=rule["strategy"]["type"],
        open=rule["open"],
        waiting=rule["waiting"],
        picked=own.counts.picked,
        closed=rule["closed"],
        refused=rule["refused"],
        rates=rates,
        fairness=_fairness(past, own),
        usable=sum(each.state == USABLE for each in backends),
        backends=tuple(shown),
        left_out=len(backends) - len(shown),
        gone=tuple(name for name in seen if name not in own.backends),
    )


def _backend_frame(backend: Mapping[str, Any], rates: Rates | None, picked: int) -> BackendFrame:
    same = {name: backend[name] for name in _SAME}
    return BackendFrame(
        **same,
        wanted_by=tuple(backend["wanted_by"]),
        picked=backend["counts"]["picked"],
        failed=backend["counts"]["failed"],
        check=backend["last_check"],
        got_pct=100 * rates.picked / picked if rates and picked else None,
        rates=rates,
    )


_SAME = (
    *("id", "address", "backup", "state", "in_spite_of", "since_s", "weight", "share_pct"),
    *("open", "active", "max_connections", "score"),
)


def _rates(past: Iterable[tuple[float, Counts | None]], now: Counts) -> Rates | None:
    """`past`: how long ago and what, the newest first; None: it was not there."""
    base, seconds = now, 0.0
    for ago_s, counts in past:
        if counts is None or any(was > later for was, later in zip(counts, base, strict=True)):
            break
        base, seconds = counts, ago_s
    if seconds <= 0:
        return None
    reached = now.reached - base.reached
    return Rates(
        seconds=round(seconds, 3),
        picked=now.picked - base.picked,
        picked_per_s=(now.picked - base.picked) / seconds,
        failed_per_s=(now.failed - base.failed) / seconds,
        closed_per_s=(now.closed - base.closed) / seconds,
        refused_per_s=(now.refused - base.refused) / seconds,
        up_bytes_per_s=(now.bytes_up - base.bytes_up) / seconds,
        down_bytes_per_s=(now.bytes_down - base.bytes_down) / seconds,
        connect_ms=(now.connect_ms - base.connect_ms) / reached if reached else None,
    )


def _fairness(past: Iterable[_Past], now: RuleMark) -> Fairness | None:
    """Over the picks since the shares changed last, as far as the window goes back."""
    base, seconds = now, 0.0
    for ago_s, one in past:
        if one is None or one.shares != now.shares or one.counts.picked > base.counts.picked:
            break
        base, seconds = one, ago_s
    names = list(now.shares)
    picks = [now.backends[name].picked - base.backends[name].picked for name in names]
    return fairness(picks, [now.shares[name] for name in names], round(seconds, 3))


_Shown = TypeVar("_Shown", BackendFrame, RuleFrame)


def _most(shown: list[_Shown], most: int) -> list[_Shown]:
    """All, or so many: those in trouble first, else in the configuration's order."""
    if len(shown) <= most:
        return shown
    return sorted(shown, key=lambda each: not each.troubled)[:most]
