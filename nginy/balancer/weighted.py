"""What nginx's stream methods share: ordered members, the usable ones, smooth round robin."""

import random
from bisect import bisect
from collections.abc import Collection, Sequence
from itertools import accumulate

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.balancer.base import Balancer, SettingsT
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.smooth import SmoothWeights

MAX_MISSES = 20
"""A random or hashing pick gives up at the next miss (ngx_stream_upstream_{random,hash}_module.c)
and takes a step of smooth round robin instead."""


class WeightedBalancer(Balancer[SettingsT]):
    """Base of the methods taken from nginx; a subclass adds `choose` and `reason`."""

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        super().__init__(settings, rng, policy)
        self.smooth = SmoothWeights()
        self._weight_ends: list[int] = []

    @property
    def members(self) -> tuple[Backend, ...]:
        """All members, in order."""
        return self.roster.members

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership or new weights; members that stay keep their standing."""
        super().rebuild(backends, now)
        self.smooth.rebuild(backends)
        self._weight_ends = list(accumulate(backend.place_weight for backend in backends))

    @property
    def total_weight(self) -> int:
        """Sum of the weights of all members, usable or not; there must be one."""
        return self._weight_ends[-1]

    def member_at(self, point: int) -> Backend:
        """The member at `point` in [0, total_weight), members laid end to end. O(log n)."""
        return self.members[bisect(self._weight_ends, point)]

    def all_usable(self, avoid: Collection[Backend]) -> list[Backend]:
        """The members that may be chosen, in order. O(n)."""
        return [backend for backend in self.members if self.can_use(backend, avoid)]

    def pick_smooth(self, avoid: Collection[Backend]) -> Backend | None:
        """A step of smooth round robin over all usable members. O(n)."""
        return self.smooth.step(self.all_usable(avoid))

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """A failure lowers the backend's effective weight."""
        if outcome.failed:
            self.smooth.punish(backend)

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """One sentence."""
        return "it was next"
