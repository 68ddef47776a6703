"""Where connections wait while every backend of a rule is full: bounded, first come, first served.

A place that gets free wakes the queue, which picks for the first waiter and hands the backend over;
then for the next one, until there is nobody left to pick: so as many are woken as there is room.
That happens after the event that freed the place, never within it: a release is not over yet when
its backend says that it has room. Once a tick the queue is looked at in any case, for timeouts and
for what no event tells of: a penalty that is over, a place that another process gave up.

The algorithm's roster tells who has room again, so that the first waiter and the last cost as
little among 10 000 backends as among two.

Who waits when the last backend goes down, waits on: it may come back within the timeout.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.balancer.roster import Follower
from nginy.config.guard_settings import QueueSettings
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.scheduler import RunSoon, Timer, Timers

LOOKED_AT = 64
"""Waiters served at one wake; the others have their turn after the sockets."""


class Sleeper(Protocol):
    """What waits: a `Strand`. Its own faults stay with it."""

    def resume(self, value: object) -> None:
        """Go on, with the backend that was picked. It takes a lease before this returns."""

    def throw(self, error: Exception) -> None:
        """Go on, without one."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A connection in the queue."""

    sleeper: Sleeper
    client: Address
    avoid: Sequence[Backend]
    """Backends it has tried already."""
    deadline_s: float


class Picker(Protocol):
    """Who knows the next backend: a rule, or its algorithm."""

    def pick(self, client: Address, now: float, avoid: Collection[Backend], /) -> Backend | None:
        """The backend for this client, not one of `avoid`; None: nobody."""


class WaitingQueue(Follower):
    """The queue of one rule. The caller has the rule's algorithm tell it (`Balancer.tell`)."""

    def __init__(
        self,
        settings: QueueSettings,
        picker: Picker,
        members: Callable[[], Iterable[Backend]],
        wheel: Timers,
        run_soon: RunSoon,
        *,
        heed_health: bool = True,
    ) -> None:
        """`members` gives the rule's present backends, `run_soon` calls back after this event.

        Without `heed_health`, waiting for a backend that is down makes sense (`try_all`).
        """
        self._settings = settings
        self._picker = picker
        self._members = members
        self._wheel = wheel
        self._run_soon = run_soon
        self._heed_health = heed_health
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._timer: Timer | None = None
        self._wake_is_due = False

    def update(self, settings: QueueSettings, now: float, *, heed_health: bool) -> None:
        """Other settings. Nobody who waits has more patience than who comes after him: `expire`
        looks from the front."""
        self._settings = settings
        self._heed_health = heed_health
        latest_s = now + settings.timeout_ms / 1e3
        for waiter in self._waiters:
            waiter.deadline_s = min(waiter.deadline_s, latest_s)

    def __len__(self) -> int:
        """Connections that wait."""
        return len(self._waiters)

    def worth_waiting(self, avoid: Sequence[Backend]) -> bool:
        """Whether some backend only has to get a place free. A penalty ends by itself, too."""
        return any(
            backend.obstacle(0.0, heed_health=False) is Obstacle.FULL
            for backend in self._members()
            if (backend.healthy or not self._heed_health) and backend not in avoid
        )

    def join(
        self, sleeper: Sleeper, client: Address, avoid: Sequence[Backend], now: float
    ) -> Waiter:
        """Wait at the end of the queue. Raises ConnectionEnd if it is full."""
        if len(self._waiters) >= self._settings.max_waiting:
            raise ConnectionEnd(CloseReason.QUEUE_FULL)
        waiter = Waiter(sleeper, client, avoid, now + self._settings.timeout_ms / 1e3)
        if not self._waiters:
            self._open(now)
        self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """It waits no more; without effect if it does not."""
        if waiter in self._waiters:
            del self._waiters[waiter]
            if not self._waiters:
                self._close()

    def wake(self, now: float) -> None:
        """Let in whom there is room for."""
        let_in = False
        for waiter in tuple(islice(self._waiters, LOOKED_AT)):
            if waiter not in self._waiters:
                continue
            try:
                backend = self._picker.pick(waiter.client, now, waiter.avoid)
            except Exception as error:  # a fault of nginy costs this waiter, not the others
                self.leave(waiter)
                waiter.sleeper.throw(error)
                continue
            if backend is not None:
                let_in = True
                self.leave(waiter)
                waiter.sleeper.resume(backend)
            elif not waiter.avoid:
                return
        if let_in and self._waiters:
            self.wake_soon()

    def wake_soon(self) -> None:
        """Do so when the present event is over."""
        if not self._wake_is_due:
            self._wake_is_due = True
            self._run_soon(self._wake_now)

    def expire(self, now: float) -> None:
        """Send away who has waited for too long, from the front: deadlines ascend."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            if waiter.deadline_s > now:
                return
            self.leave(waiter)
            waiter.sleeper.throw(ConnectionEnd(CloseReason.QUEUE_TIMEOUT))

    def joined(self, backend: Backend, now: float) -> None:
        """`backend` may be chosen again: it may have room now."""
        if self._waiters:
            self.wake_soon()

    def _open(self, now: float) -> None:
        self._timer = self._wheel.add(now + self._wheel.tick_s, self._tick)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, now: float) -> float | None:
        timer = self._timer
        self.expire(now)
        self.wake(now)
        # Emptied, and perhaps opened again, in between: then there is another timer.
        return now + self._wheel.tick_s if self._timer is timer else None

    def _wake_now(self, now: float) -> None:
        self._wake_is_due = False
        self.wake(now)
