"""What nginx's stream methods share: ordered members, the usable ones, smooth round robin."""

import random
from bisect import bisect
from collections.abc import Collection, Sequence
from itertools import accumulate

from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.smooth import SmoothWeights

MAX_MISSES = 20
"""A random or hashing pick gives up at the next miss (ngx_stream_upstream_{random,hash}_module.c)
and takes a step of smooth round robin instead."""


class WeightedBalancer(Balancer):
    """Base of the methods taken from nginx; a subclass adds `pick`."""

    def __init__(self, rng: random.Random) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        super().__init__(rng)
        self.members: tuple[Backend, ...] = ()
        self.smooth = SmoothWeights()
        self._weight_ends: list[int] = []

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership or new weights; members that stay keep their standing."""
        self.members = tuple(backends)
        self.smooth.rebuild(backends)
        self._weight_ends = list(accumulate(backend.weight for backend in backends))

    @property
    def total_weight(self) -> int:
        """Sum of the weights of all members, usable or not; there must be one."""
        return self._weight_ends[-1]

    def member_at(self, point: int) -> Backend:
        """The member at `point` in [0, total_weight), members laid end to end. O(log n)."""
        return self.members[bisect(self._weight_ends, point)]

    def usable(self, backend: Backend, now: float, avoid: Collection[Backend]) -> bool:
        """Whether `backend` may be chosen; the only member is tried in spite of a penalty."""
        if backend in avoid:
            return False
        if len(self.members) == 1:
            return backend.accepting
        return backend.available(now)

    def all_usable(self, now: float, avoid: Collection[Backend]) -> list[Backend]:
        """The members that may be chosen, in order. O(n)."""
        return [backend for backend in self.members if self.usable(backend, now, avoid)]

    def pick_smooth(self, now: float, avoid: Collection[Backend]) -> Backend | None:
        """A step of smooth round robin over all usable members. O(n)."""
        return self.smooth.step(self.all_usable(now, avoid))

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """A failure lowers the backend's effective weight."""
        if outcome.failed:
            self.smooth.punish(backend)
