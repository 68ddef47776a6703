"""What lives on each backend by one rule, what it has carried, and what happens when it departs.

A `Watcher` of the backends that have carried something. A departure (down, drained, removed) acts
once, when it begins; a backend that comes back, or departs in another way, ends what was still to
be closed little by little (`spread`). What is to be closed at once is closed in batches, the oldest
first, with the sockets' turns in between: 2 000 connections take 160 ms, and the others go on.
What begins to live on a backend after that is not touched (`all_down: try_all` does that).
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Protocol

from nginy.backend.backend import Backend, Obstacle
from nginy.config.guard_settings import EventPolicy, LiveSettings
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.scheduler import RunSoon, Timer, Timers

log = logging.getLogger(__name__)

BATCH = 8
"""Closed or moved in one turn: 0.6 ms at 80 us each."""


class Live(Protocol):
    """A connection or session on a backend: whoever moves its bytes."""

    def end(self, reason: CloseReason) -> None:
        """Close now."""

    def rebind(self) -> None:
        """Leave the backend for another one."""

    def carried(self) -> tuple[int, int]:
        """Bytes so far on this backend: client to backend, and back."""


class Departure(Enum):
    """How a backend leaves its service; the value is the reason of what is closed for it."""

    DOWN = CloseReason.BACKEND_DOWN
    DRAINED = CloseReason.BACKEND_DRAINED
    REMOVED = CloseReason.BACKEND_REMOVED


DEPARTURES = {
    Obstacle.DOWN: Departure.DOWN,
    Obstacle.UNHEALTHY: Departure.DOWN,
    Obstacle.DRAINING: Departure.DRAINED,
    Obstacle.REMOVED: Departure.REMOVED,
}
"""A penalty is none of them: failed attempts say little about connections that work."""


@dataclass(slots=True)
class Tally:
    """What a rule has done with a backend so far; what lives is added by `LiveConnections`."""

    picked: int = 0
    """Attempts, the failed ones included."""
    reached: int = 0
    """Attempts that succeeded; of UDP, those that were answered."""
    connect_s: float = 0.0
    """Sum over those."""
    failed: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by the kind of the error."""
    bytes_up: int = 0
    bytes_down: int = 0

    def add(self, other: "Tally") -> None:
        """Count what the other one has counted."""
        self.picked += other.picked
        self.reached += other.reached
        self.connect_s += other.connect_s
        self.failed += other.failed
        self.bytes_up += other.bytes_up
        self.bytes_down += other.bytes_down


@dataclass(slots=True)
class Spread:
    """Closing one by one, the oldest first."""

    waiting: deque[Live]
    """Those that lived when it began; some may have ended since."""
    total: int
    """How many those were."""
    reason: CloseReason
    began_at: float
    timer: Timer | None = None


@dataclass(slots=True)
class Carried:
    """What lives on one backend."""

    departure: Departure | None
    """The one the backend is in."""
    tally: Tally = field(default_factory=Tally)
    lives: dict[Live, None] = field(default_factory=dict)
    """As an ordered set: the oldest first."""
    spread: Spread | None = None

    def stop_spread(self) -> None:
        """Close no more of them."""
        if self.spread is not None and self.spread.timer is not None:
            self.spread.timer.cancel()
        self.spread = None


class LiveConnections:
    """All that lives by one rule."""

    def __init__(self, policy: LiveSettings, wheel: Timers, run_soon: RunSoon) -> None:
        """Apply `policy`; `wheel` times what is closed little by little, `run_soon` gives the
        turns in which the rest is closed."""
        self.policy = policy
        self._wheel = wheel
        self._run_soon = run_soon
        self._carried: dict[Backend, Carried] = {}
        self.gone = Tally()
        """Of backends that were removed and carry nothing any more."""

    def __len__(self) -> int:
        """How many live."""
        return sum(len(carried.lives) for carried in self._carried.values())

    def add(self, backend: Backend, live: Live) -> Tally:
        """`live` is on `backend` from now on, which one more attempt was made with."""
        carried = self._carried.get(backend)
        if carried is None:
            carried = self._carried[backend] = Carried(departure_of(backend))
            backend.watchers.append(self)
        carried.lives[live] = None
        carried.tally.picked += 1
        return carried.tally

    def on(self, backend: Backend) -> int:
        """How many live on `backend`."""
        carried = self._carried.get(backend)
        return 0 if carried is None else len(carried.lives)

    def tally(self, backend: Backend) -> Tally:
        """Of `backend` so far, the bytes of what lives there included. A copy."""
        total = Tally()
        carried = self._carried.get(backend)
        if carried is not None:
            total.add(carried.tally)
            for live in carried.lives:
                up, down = live.carried()
                total.bytes_up += up
                total.bytes_down += down
        return total

    @property
    def backends(self) -> Iterable[Backend]:
        """Those that have a tally of their own."""
        return self._carried.keys()

    def discard(self, backend: Backend, live: Live) -> None:
        """It is not any more; without effect if repeated."""
        carried = self._carried.get(backend)
        if carried is None:
            return
        carried.lives.pop(live, None)
        if not carried.lives:
            carried.stop_spread()
            self._forget_removed(backend, carried)

    def state_changed(self, backend: Backend, now: float) -> None:
        """Act if it departs just now."""
        carried = self._carried.get(backend)
        departure = departure_of(backend)
        if carried is None or departure is carried.departure:
            return
        carried.departure = departure
        carried.stop_spread()
        if departure is not None:
            self._act(carried, departure, now)
            self._forget_removed(backend, carried)

    def share_changed(self, backend: Backend, now: float) -> None:
        """Nothing to do; see `Watcher`."""

    def _act(self, carried: Carried, departure: Departure, now: float) -> None:
        what = self._policy_of(departure)
        if what == "close_spread":
            if carried.lives:
                self._begin_spread(carried, departure.value, now)
            return
        if what == "keep" or not carried.lives:
            return
        act = _rebind if what == "rebind" else partial(_end, reason=departure.value)
        self._act_on_batch(carried, deque(carried.lives), act, now)

    def _act_on_batch(
        self, carried: Carried, waiting: deque[Live], act: Callable[[Live], None], now: float
    ) -> None:
        """To the last of `waiting`, even if the backend comes back meanwhile."""
        for _ in range(min(BATCH, len(waiting))):
            live = waiting.popleft()
            if live in carried.lives:
                act(live)
        if waiting:
            self._run_soon(partial(self._act_on_batch, carried, waiting, act))

    def _forget_removed(self, backend: Backend, carried: Carried) -> None:
        """Others are watched on: they are likely to carry something again at once."""
        if (
            carried.departure is Departure.REMOVED
            and not carried.lives
            and backend in self._carried
        ):
            del self._carried[backend]
            self.gone.add(carried.tally)
            backend.watchers.remove(self)

    def _policy_of(self, departure: Departure) -> EventPolicy:
        policy = self.policy
        if departure is Departure.DOWN:
            return policy.on_down or "keep"
        return policy.on_drain if departure is Departure.DRAINED else policy.on_removed

    def _begin_spread(self, carried: Carried, reason: CloseReason, now: float) -> None:
        spread = Spread(deque(carried.lives), len(carried.lives), reason, now)
        carried.spread = spread
        spread.timer = self._wheel.add(
            self._next_at(spread), lambda now: self._go_on(carried, spread, now)
        )

    def _go_on(self, carried: Carried, spread: Spread, now: float) -> float | None:
        """Close as many as are due by now, and say when the next one is."""
        while carried.spread is spread and spread.waiting and self._next_at(spread) <= now:
            live = spread.waiting.popleft()
            if live in carried.lives:
                _end(live, spread.reason)
        ended = carried.spread is not spread or not spread.waiting
        return None if ended else self._next_at(spread)

    def _next_at(self, spread: Spread) -> float:
        """The first one after one interval, the last one when `spread_s` is over."""
        turn = spread.total - len(spread.waiting) + 1
        return spread.began_at + self.policy.spread_s * turn / spread.total


def departure_of(backend: Backend) -> Departure | None:
    """How `backend` is leaving, if it is; the time is of no matter to these obstacles."""
    obstacle = backend.obstacle(0.0)
    return None if obstacle is None else DEPARTURES.get(obstacle)


def _end(live: Live, reason: CloseReason) -> None:
    """A fault of nginy in one of them is not the others'."""
    try:
        live.end(reason)
    except Exception:
        log.exception("a connection on a departing backend was lost by a fault of nginy")


def _rebind(live: Live) -> None:
    """A fault of nginy leaves it halfway, so it is ended."""
    try:
        live.rebind()
    except Exception:
        log.exception("a connection could not leave its backend by a fault of nginy")
        _end(live, CloseReason.INTERNAL_ERROR)
