"""What the rules and their backends do now, as a snapshot: `status`, read by whoever shows it.

Pure, and asking changes nothing: no algorithm goes on, no penalty ends by it. Ages and durations
carry their unit; there is no time of the monotonic clock, which means nothing outside.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nginy.backend.backend import Backend
from nginy.backend.health import CheckResult
from nginy.backend.wishes import Admin
from nginy.balancer.explain import line_up
from nginy.config.model import Protocol
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.ledger import Drop, Ledger
from nginy.traffic.live import Tally
from nginy.traffic.rule import RunningRule

SLICE = 100
"""Backends looked at in one go by `status_in_slices`: less than 1 ms."""
LIVES_PER_BACKEND = 16
"""So many connections that live take as long to count as a backend."""
NO_TARGET = "no target"
"""The state of a backend that the rule sends nobody to any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was done so far; of connections that live, the bytes until now."""

    picked: int
    """Attempts, the failed ones included."""
    reached: int
    """Attempts that succeeded; of UDP, those that were answered."""
    failed: Mapping[str, int]
    """Attempts that failed, by the kind of the error."""
    connect_ms: float | None
    """Mean over `reached`: until connected, of UDP until the first answer. None: nobody was."""
    connect_total_ms: float
    """Sum over `reached`: two of them give the mean of what was in between."""
    bytes_up: int
    """Client to backend."""
    bytes_down: int
    """Backend to client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStatus:
    """The last health check of a backend."""

    words: str
    """`passed`, or why not."""
    passed: bool | None
    """None: it could not be made."""
    age_s: float
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendStatus:
    """A backend, as one rule sees it."""

    id: str
    address: str
    backup: bool
    state: str
    """`usable`; else what keeps it from being chosen: a value of `Obstacle`, or NO_TARGET."""
    in_spite_of: str | None
    """Usable all the same: the `Obstacle` that all_down: try_all or max_ejected_pct overrules."""
    since_s: float | None
    """How long ago the obstacle began; None: there is none, or it was there from the start."""
    wanted_by: tuple[str, ...]
    """Who wants it drained or down, if it is: values of `Origin`."""
    weight: int
    share_pct: float
    """Of new connections, by weight as slow start leaves it, among those who are asked now."""
    open: int
    """Of this rule."""
    active: int
    """Of all rules."""
    max_connections: int
    """0: no limit."""
    counts: Counts
    """Of this rule with this backend."""
    last_check: CheckStatus | None
    """None: it has none, or none was made yet."""
    score: str
    """What the algorithm compares, whoever comes, in words; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatus:
    """A rule."""

    name: str
    protocol: Protocol
    clients: tuple[str, ...]
    strategy: Mapping[str, Any]
    """Its settings, `type` among them."""
    open: int
    """Connections or sessions, those that wait included."""
    waiting: int
    """In the queue."""
    counts: Counts
    """With all backends, those that are gone included."""
    closed: Mapping[str, int]
    """By `CloseReason`, all that has ended or was refused."""
    refused: Mapping[str, int]
    """By `CloseReason`, clients that were not served at all: part of `closed`."""
    backends: tuple[BackendStatus, ...]
    """Its targets in the configuration's order, then others that still carry something of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A process."""

    open: Mapping[str, int]
    """Connections and sessions that a rule serves now, by protocol."""
    closed: Mapping[str, Mapping[str, int]]
    """By protocol and `CloseReason`: also clients that no rule is for."""
    dropped: Mapping[str, int]
    """Datagrams that were not passed on, by `Drop`."""
    rules: tuple[RuleStatus, ...]


def status(rules: Sequence[RunningRule], ledger: Ledger, now: float) -> Status:
    """The snapshot at `now`, in seconds of the clock the rules go by.

    O(targets + what lives)."""
    return _result(status_in_slices(rules, ledger, now))


def status_in_slices(
    rules: Sequence[RunningRule], ledger: Ledger, now: float
) -> Generator[None, None, Status]:
    """The same with a `yield` after every SLICE of work, for others to have their turn.

    What changes in between is counted as it is when its slice is made; `now` stays.
    """
    each = []
    for rule in rules:
        found = yield from _rule_status(rule, ledger, now)
        each.append(found)
    return Status(
        open={
            protocol: sum(rule.open for rule in each if rule.protocol == protocol)
            for protocol in ledger.closed
        },
        closed={protocol: _by_value(counts) for protocol, counts in ledger.closed.items()},
        dropped=_by_value(ledger.dropped),
        rules=tuple(each),
    )


def _result(slices: Generator[None, None, Status]) -> Status:
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: Status = end.value
            return result


def _rule_status(
    rule: RunningRule, ledger: Ledger, now: float
) -> Generator[None, None, RuleStatus]:
    total = Tally()
    total.add(rule.live.gone)
    view = _View(rule, now)
    backends = []
    work = 0
    for backend in view.backends:
        tally = rule.live.tally(backend)
        total.add(tally)
        backends.append(view.status_of(backend, tally))
        work += 1 + rule.live.on(backend) // LIVES_PER_BACKEND
        if work >= SLICE:
            work = 0
            yield
    return RuleStatus(
        name=rule.name,
        protocol=rule.protocol,
        clients=tuple(map(str, rule.clients)),
        strategy=rule.settings.strategy.model_dump(mode="json"),
        open=rule.admission.open,
        waiting=rule.waiting,
        counts=_counts(total),
        closed=_by_value(rule.closed),
        refused=_by_value(ledger.refused.get(rule.name, {})),
        backends=tuple(backends),
    )


class _View:
    """The backends of a rule at `now`, and what their places among each other are."""

    def __init__(self, rule: RunningRule, now: float) -> None:
        self._rule = rule
        self._now = now
        self._lineup = line_up(rule.balancer, None, now)
        self._targets = frozenset(self._lineup.members)
        self._shares = sum(backend.share for backend in self._lineup.asked)
        others = set(rule.live.backends) - self._targets
        self.backends = (*self._lineup.members, *(one for one in others if rule.live.on(one)))

    def status_of(self, backend: Backend, tally: Tally) -> BackendStatus:
        now, lineup = self._now, self._lineup
        obstacle, since, check = backend.obstacle(now), backend.obstacle_since, backend.last_check
        state = lineup.state(backend, now)
        if state == "usable" and backend not in self._targets:
            state = NO_TARGET
        share = backend.share / self._shares if backend in lineup.asked else 0.0
        return BackendStatus(
            id=backend.id,
            address=str(backend.address),
            backup=backend.backup,
            state=state,
            in_spite_of=obstacle.value if obstacle is not None and state == "usable" else None,
            since_s=None if obstacle is None or since is None else _age_s(since, now),
            wanted_by=_wanted_by(backend),
            weight=backend.weight,
            share_pct=100 * share,
            open=self._rule.live.on(backend),
            active=backend.active,
            max_connections=backend.max_connections,
            counts=_counts(tally),
            last_check=None if check is None else _check_status(check, now),
            score=lineup.scores.get(backend, ""),
        )


def _wanted_by(backend: Backend) -> tuple[str, ...]:
    if backend.admin is Admin.READY and backend.weight:  # asking its wishes costs half of it all
        return ()
    return tuple(origin.value for origin in backend.wishes.withdrawn_by)


def _check_status(check: CheckResult, now: float) -> CheckStatus:
    return CheckStatus(
        words=check.words or "passed",
        passed=check.passed,
        age_s=_age_s(check.ended_at, now),
        duration_ms=round(check.duration_s * 1e3, 3),
    )


def _age_s(since: float, now: float) -> float:
    """Not below 0: it may have begun after `now`, between two slices."""
    return round(max(0.0, now - since), 3)


def _counts(tally: Tally) -> Counts:
    reached = tally.reached
    return Counts(
        picked=tally.picked,
        reached=reached,
        failed=dict(tally.failed),
        connect_ms=round(tally.connect_s / reached * 1e3, 3) if reached else None,
        connect_total_ms=round(tally.connect_s * 1e3, 3),
        bytes_up=tally.bytes_up,
        bytes_down=tally.bytes_down,
    )


def _by_value(counts: Mapping[CloseReason, int] | Mapping[Drop, int]) -> dict[str, int]:
    return {reason.value: count for reason, count in counts.items()}
