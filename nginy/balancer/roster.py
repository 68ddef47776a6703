"""Who of an algorithm's members may be chosen now: kept by events, not asked at every pick.

Asking each of n members at each pick is what makes nginx's methods O(n). Here a member that becomes
full, is drained, fails its check or is penalised leaves at that moment, and comes back likewise; a
penalty ends by time alone, so the ends lie on a heap that `refresh` looks at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from nginy.backend.backend import Backend, Obstacle

FOREVER = float("inf")


class Follower(Protocol):
    """The algorithm, told what changes among its members."""

    def joined(self, backend: Backend, now: float) -> None:
        """It may be chosen from now on."""

    def left(self, backend: Backend, now: float) -> None:
        """It may not be chosen from now on; it is still a member."""

    def reweighed(self, backend: Backend, now: float) -> None:
        """Its share of new connections is another one; it may be usable or not."""


@dataclass(frozen=True, slots=True)
class RosterPolicy:
    """What counts as usable."""

    max_ejected_pct: float = 100.0
    """Penalties beyond this share of the members are not heeded (Envoy's max_ejection_percent)."""
    heed_health: bool = True
    """False: neither health checks nor penalties keep a member away (the last resort)."""


class Roster:
    """The members, in order, and those of them that are usable. A `Watcher` of each."""

    def __init__(self, follower: Follower, policy: RosterPolicy) -> None:
        """No members until `rebuild`."""
        self._follower = follower
        self._policy = policy
        self.members: tuple[Backend, ...] = ()
        self.position: dict[Backend, int] = {}
        """Place of each member in the configuration's order."""
        self.usable: set[Backend] = set()
        self.next_return = FOREVER
        """When `refresh` has something to do: the first penalty is over after this time."""
        self._ejected: set[Backend] = set()
        self._returns: list[tuple[float, int, Backend]] = []
        self._numbers = count()

    def rebuild(self, members: Sequence[Backend], now: float) -> None:
        """Take a new membership: everybody leaves, and who is usable (re)joins in the new order."""
        for backend in self.members:
            backend.watchers.remove(self)
            self._leave(backend, now)
        self._ejected.clear()
        self._returns.clear()
        self.next_return = FOREVER
        self.members = tuple(members)
        self.position = {backend: place for place, backend in enumerate(members)}
        for backend in members:
            backend.watchers.append(self)
            self.state_changed(backend, now)

    def refresh(self, now: float) -> None:
        """Let those back whose penalty is over. Call it when `now` has passed `next_return`."""
        while self._returns and self._returns[0][0] < now:
            _, _, backend = heappop(self._returns)
            if backend in self.position:
                self.state_changed(backend, now)
        self.next_return = self._returns[0][0] if self._returns else FOREVER

    def state_changed(self, backend: Backend, now: float) -> None:
        """Let `backend` in or out, as its obstacles say."""
        obstacle = backend.obstacle(now)
        if obstacle is Obstacle.PENALISED and self._eject(backend):
            ends_at = backend.penalty.ends_at
            heappush(self._returns, (ends_at, next(self._numbers), backend))
            self.next_return = self._returns[0][0]
        elif obstacle is not Obstacle.PENALISED:
            self._ejected.discard(backend)
        if self._keeps_away(backend, obstacle):
            self._leave(backend, now)
        elif backend not in self.usable:
            self.usable.add(backend)
            self._follower.joined(backend, now)

    def share_changed(self, backend: Backend, now: float) -> None:
        """Pass it on."""
        self._follower.reweighed(backend, now)

    def _eject(self, backend: Backend) -> bool:
        """Whether a penalty is heeded: as long as not too many are."""
        allowed = len(self.members) * self._policy.max_ejected_pct / 100
        if backend in self._ejected or len(self._ejected) + 1 <= allowed:
            self._ejected.add(backend)
            return True
        return False

    def _keeps_away(self, backend: Backend, obstacle: Obstacle | None) -> bool:
        if obstacle is Obstacle.PENALISED:
            # nginx: a group of one ignores max_fails.
            alone = len(self.members) == 1
            heeded = backend in self._ejected and self._policy.heed_health and not alone
            return heeded or backend.full
        if obstacle is Obstacle.UNHEALTHY and not self._policy.heed_health:
            return backend.full or backend.weight == 0
        return obstacle is not None

    def _leave(self, backend: Backend, now: float) -> None:
        if backend in self.usable:
            self.usable.discard(backend)
            self._follower.left(backend, now)
