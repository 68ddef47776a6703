"""Who of an algorithm's members may be chosen now: kept by events, not asked at every pick.

Asking each of n members at each pick is what makes nginx's methods O(n). Here a member that becomes
full, is drained, fails its check or is penalised leaves at that moment, and comes back likewise; a
penalty ends by time alone, so the ends lie on a heap that `refresh` looks at.
"""

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar

from nginy.backend.backend import Backend, Obstacle

FOREVER = float("inf")


class Follower:
    """Who is told what changes among the members: the algorithm, and the tables that it has."""

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """The members are these; all have left, and those who are usable join next, in order."""

    def joined(self, backend: Backend, now: float) -> None:
        """`backend`, a member, may be chosen from now on."""

    def left(self, backend: Backend, now: float) -> None:
        """`backend` may not be chosen from now on (and may soon be no member any more)."""

    def reweighed(self, backend: Backend, now: float) -> None:
        """`backend.weight` or `backend.share` is another one; it may be usable or not."""

    def failed(self, backend: Backend, now: float) -> None:
        """A lease on `backend`, which may be no member any more, failed by its fault."""


FollowerT = TypeVar("FollowerT", bound=Follower)


Eligible = Set[Backend]
"""Who may be chosen by one pick: the usable members that the connection has not tried."""
Tried = Collection[Backend]
"""Whom it has tried, usable or not: nearly always nobody."""


class Untried(Set[Backend]):
    """Those of `usable` whom a connection has not tried yet: a view, as a copy would be O(n)."""

    __slots__ = ("_tried", "_usable")

    def __init__(self, usable: Set[Backend], tried: Tried) -> None:
        """Neither is copied."""
        self._usable = usable
        self._tried = tried

    def __contains__(self, backend: object) -> bool:
        """O(tried)."""
        return backend in self._usable and backend not in self._tried

    def __iter__(self) -> Iterator[Backend]:
        """O(n)."""
        return (backend for backend in self._usable if backend not in self._tried)

    def __len__(self) -> int:
        """O(tried)."""
        return len(self._usable) - sum(backend in self._usable for backend in set(self._tried))


@dataclass(frozen=True, slots=True)
class RosterPolicy:
    """What counts as usable."""

    max_ejected_pct: float = 100.0
    """Penalties beyond this share of the members are not heeded (Envoy's max_ejection_percent)."""
    heed_health: bool = True
    """False: neither health checks nor penalties keep a member away (the last resort)."""
    try_alone: bool = True
    """An only member is tried in spite of a penalty (nginx's `single`, which a group with backups
    never is)."""


class Roster:
    """The members, in order, and those of them that are usable. A `Watcher` of each.

    Which penalties are heeded is decided when they begin, while there is room under
    `max_ejected_pct`; one that was not heeded then is looked at again at the member's next change.
    """

    def __init__(self, policy: RosterPolicy) -> None:
        """No members until `rebuild`."""
        self._followers: list[Follower] = []
        self.policy = policy
        """May be replaced before a `rebuild`."""
        self.members: tuple[Backend, ...] = ()
        self.position: dict[Backend, int] = {}
        """Place of each member in the configuration's order."""
        self.usable: set[Backend] = set()
        self.next_return = FOREVER
        """When `refresh` has something to do: it is past this time."""
        self._ejected: set[Backend] = set()
        self._due: dict[Backend, float] = {}
        """After when a member must be looked at again though nothing tells of a change."""
        self._returns: list[tuple[float, int, Backend]] = []
        """The same as a heap; entries that are no longer due are ignored."""
        self._numbers = count()

    def followed_by(self, follower: FollowerT) -> FollowerT:
        """`follower`, which is told of all that changes, after those that came before it."""
        self._followers.append(follower)
        return follower

    def in_order(self) -> list[Backend]:
        """The usable members, in the configuration's order. O(n)."""
        return [backend for backend in self.members if backend in self.usable]

    def rebuild(self, members: Sequence[Backend], now: float) -> None:
        """Take a new membership: everybody leaves, and who is usable (re)joins in the new order."""
        for backend in self.members:
            backend.watchers.remove(self)
            self._leave(backend, now)
        self._ejected.clear()
        self._due.clear()
        self._returns.clear()
        self.next_return = FOREVER
        self.members = tuple(members)
        self.position = {backend: place for place, backend in enumerate(members)}
        for follower in self._followers:
            follower.members_changed(self.members, now)
        for backend in members:
            backend.watchers.append(self)
            self.state_changed(backend, now)

    def refresh(self, now: float) -> None:
        """Let those back whose penalty is over. Call it when `now` has passed `next_return`."""
        while self._returns and self._returns[0][0] < now:
            at, _, backend = heappop(self._returns)
            if self._due.get(backend) == at:
                del self._due[backend]
                self.state_changed(backend, now)
        self.next_return = self._returns[0][0] if self._returns else FOREVER

    def usable_at(self, now: float) -> Set[Backend]:
        """Who is usable once `refresh` is called at `now`: asked without calling it."""
        if now <= self.next_return:
            return self.usable
        heed_health = self.policy.heed_health
        return self.usable | {
            backend
            for backend, after in self._due.items()
            if after < now and backend.obstacle(now, heed_health=heed_health) is None
        }

    def state_changed(self, backend: Backend, now: float) -> None:
        """Let `backend` in or out, as its obstacles say."""
        obstacle = self._obstacle(backend, now)
        if obstacle is Obstacle.PENALISED:
            self._look_again(backend, backend.penalty.ends_at)
        if obstacle is not None:
            self._leave(backend, now)
        elif backend not in self.usable:
            self.usable.add(backend)
            for follower in self._followers:
                follower.joined(backend, now)

    def share_changed(self, backend: Backend, now: float) -> None:
        """Pass it on."""
        for follower in self._followers:
            follower.reweighed(backend, now)

    def failed(self, backend: Backend, now: float) -> None:
        """Pass it on."""
        for follower in self._followers:
            follower.failed(backend, now)

    def _obstacle(self, backend: Backend, now: float) -> Obstacle | None:
        """What keeps `backend` away by the policy."""
        obstacle = backend.obstacle(now, heed_health=self.policy.heed_health)
        if obstacle is not Obstacle.PENALISED:
            self._ejected.discard(backend)
        elif not self._eject(backend):
            return backend.obstacle(now, heed_health=False)
        return obstacle

    def _eject(self, backend: Backend) -> bool:
        """Whether a penalty is heeded: as long as not too many are."""
        if self.policy.try_alone and len(self.members) == 1:
            return False
        allowed = len(self.members) * self.policy.max_ejected_pct / 100
        if backend not in self._ejected and len(self._ejected) + 1 > allowed:
            return False
        self._ejected.add(backend)
        return True

    def _look_again(self, backend: Backend, after: float) -> None:
        if self._due.get(backend) != after:
            self._due[backend] = after
            heappush(self._returns, (after, next(self._numbers), backend))
            self.next_return = self._returns[0][0]

    def _leave(self, backend: Backend, now: float) -> None:
        if backend in self.usable:
            self.usable.discard(backend)
            for follower in self._followers:
                follower.left(backend, now)
