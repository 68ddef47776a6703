"""What one of the members is drawn from: uniformly, or by weight."""

import random
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate

from nginy.backend.backend import Backend
from nginy.balancer.roster import Eligible, Follower, Roster


class DrawList(Follower):
    """The usable members, of which one, or two different ones, are drawn uniformly in O(1).

    They lie in one list; who leaves is replaced by the last, so no draw scans.
    """

    def __init__(self) -> None:
        """Empty."""
        self._backends: list[Backend] = []
        self._places: dict[Backend, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._backends)

    def joined(self, backend: Backend, now: float) -> None:
        """Take `backend` in. O(1)."""
        self._places[backend] = len(self._backends)
        self._backends.append(backend)

    def left(self, backend: Backend, now: float) -> None:
        """Take `backend` out. O(1)."""
        place = self._places.pop(backend)
        last = self._backends.pop()
        if last is not backend:
            self._backends[place] = last
            self._places[last] = place

    def draw(self, rng: random.Random, eligible: Eligible) -> Backend:
        """One of `eligible`, each as likely as the others.

        Draws that hit others are repeated: with a of n tried, n / (n - a) draws on average.
        """
        backends = self._backends
        while True:
            backend = backends[int(rng.random() * len(backends))]
            if backend in eligible:
                return backend

    def draw_two(self, rng: random.Random, eligible: Eligible) -> tuple[Backend, Backend | None]:
        """Two different ones, as `draw` draws them; the second is None if there is only one."""
        backends, free = self._backends, len(eligible)
        if free < 2:
            return self.draw(rng, eligible), None
        if free < len(backends):
            first = other = self.draw(rng, eligible)
            while other is first:
                other = self.draw(rng, eligible)
            return first, other
        one = int(rng.random() * free)
        two = int(rng.random() * (free - 1))
        return backends[one], backends[two + (two >= one)]

    def sample(self, rng: random.Random, count: int) -> list[Backend]:
        """Up to `count` different ones. O(count)."""
        return rng.sample(self._backends, min(count, len(self._backends)))


class WeightTable(Follower):
    """All members, usable or not, end to end by weight: which of them is at a point?

    Laid out in O(n), when it is asked after a change.
    """

    def __init__(self, roster: Roster, weigh: Callable[[Backend], int]) -> None:
        """`weigh` gives a member's length, at least 1."""
        self._roster = roster
        self._weigh = weigh
        self._members: Sequence[Backend] = ()
        self._ends: list[int] = []
        self._stale = False

    @property
    def total(self) -> int:
        """Sum of all lengths; there must be a member."""
        if self._stale:
            self._lay_out()
        return self._ends[-1]

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Lay out `members`."""
        self._members = members
        self._lay_out()

    def reweighed(self, backend: Backend, now: float) -> None:
        """Its length may be another one."""
        if not self._stale:
            start, end = self.interval(backend)
            self._stale = end - start != self._weigh(backend)

    def at(self, point: int) -> Backend:
        """The member at `point` in [0, total); ask `total` before. O(log n)."""
        return self._members[bisect(self._ends, point)]

    def interval(self, backend: Backend) -> tuple[int, int]:
        """The points of a member: its first, and the first one after it."""
        place = self._roster.position[backend]
        return self._ends[place - 1] if place else 0, self._ends[place]

    def _lay_out(self) -> None:
        self._ends = list(accumulate(map(self._weigh, self._members)))
        self._stale = False
