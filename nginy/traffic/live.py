"""What happens to live connections and sessions when their backend goes down, is drained or goes.

A `Watcher` of the backends that have carried something. An event acts once, when it begins; a
backend that comes back, or is met by another event, ends what was still to be closed little by
little.
What begins to live on a backend after the event is not touched (`all_down: try_all` does that).
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from nginy.backend.backend import Backend, Obstacle
from nginy.config.guard_settings import EventPolicy, LiveSettings
from nginy.engine.timers import Timer, TimerWheel
from nginy.traffic.close_reason import CloseReason


class Live(Protocol):
    """A connection or session on a backend."""

    def end(self, reason: CloseReason) -> None:
        """Close now."""

    def rebind(self) -> None:
        """Leave the backend for another one."""


class Event(Enum):
    """What befalls a backend; the value is the reason of what is closed for it."""

    DOWN = CloseReason.BACKEND_DOWN
    DRAINED = CloseReason.BACKEND_DRAINED
    REMOVED = CloseReason.BACKEND_REMOVED


EVENTS = {
    Obstacle.DOWN: Event.DOWN,
    Obstacle.UNHEALTHY: Event.DOWN,
    Obstacle.DRAINING: Event.DRAINED,
    Obstacle.REMOVED: Event.REMOVED,
}
"""A penalty is none of them: failed attempts say little about connections that work."""


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

    event: Event | None
    """The one the backend is in."""
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

    def __init__(self, policy: LiveSettings, wheel: TimerWheel) -> None:
        """Apply `policy`; `wheel` times what is closed little by little."""
        self.policy = policy
        self._wheel = wheel
        self._carried: dict[Backend, Carried] = {}

    def add(self, backend: Backend, live: Live) -> None:
        """`live` is on `backend` from now on."""
        carried = self._carried.get(backend)
        if carried is None:
            carried = self._carried[backend] = Carried(event_of(backend))
            backend.watchers.append(self)
        carried.lives[live] = None

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
        """Act if it is an event that has just begun."""
        carried = self._carried.get(backend)
        event = event_of(backend)
        if carried is None or event is carried.event:
            return
        carried.event = event
        carried.stop_spread()
        if event is not None:
            self._act(carried, event, now)
            self._forget_removed(backend, carried)

    def share_changed(self, backend: Backend, now: float) -> None:
        """Nothing to do; see `Watcher`."""

    def _act(self, carried: Carried, event: Event, now: float) -> None:
        what = self._policy_of(event)
        if what == "close_spread":
            if carried.lives:
                self._begin_spread(carried, event.value, now)
            return
        for live in tuple(carried.lives):
            if live not in carried.lives:  # ended because another one did
                continue
            if what == "close":
                live.end(event.value)
            elif what == "rebind":
                live.rebind()

    def _forget_removed(self, backend: Backend, carried: Carried) -> None:
        """Others are watched on: they are likely to carry something again at once."""
        if carried.event is Event.REMOVED and not carried.lives and backend in self._carried:
            del self._carried[backend]
            backend.watchers.remove(self)

    def _policy_of(self, event: Event) -> EventPolicy:
        policy = self.policy
        if event is Event.DOWN:
            return policy.on_down or "keep"
        return policy.on_drain if event is Event.DRAINED else policy.on_removed

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
                live.end(spread.reason)
        ended = carried.spread is not spread or not spread.waiting
        return None if ended else self._next_at(spread)

    def _next_at(self, spread: Spread) -> float:
        """The first one after one interval, the last one when `spread_s` is over."""
        turn = spread.total - len(spread.waiting) + 1
        return spread.began_at + self.policy.spread_s * turn / spread.total


def event_of(backend: Backend) -> Event | None:
    """The event that `backend` is in; the time is of no matter to them."""
    obstacle = backend.obstacle(0.0)
    return None if obstacle is None else EVENTS.get(obstacle)
