"""First: HAProxy's balance first."""

import random
from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.roster import RosterPolicy
from nginy.config.strategies import FirstSettings


class First(Balancer[FirstSettings]):
    """The first backend, in the order of the rule, that is up and has room.

    Fills one backend up to its max_connections before it uses the next, so that those at the end
    can be switched off; without max_connections the first gets everything. Unavailable choice: the
    next in order. Weights play no part (HAProxy's neither). HAProxy goes by its servers' numeric
    ids, here it is their order in the rule. Cost: O(log n), one step unless earlier ones left.
    Source: lb_fas.c of HAProxy 2.6.
    """

    def __init__(
        self,
        settings: FirstSettings,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        self._heap: list[int] = []
        self._queued: set[int] = set()

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership, in this order."""
        self._heap.clear()
        self._queued.clear()
        super().rebuild(backends, now)

    def joined(self, backend: Backend, now: float) -> None:
        """Its place may be the first."""
        place = self.roster.position[backend]
        if place not in self._queued:
            self._queued.add(place)
            heappush(self._heap, place)

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The first usable one; places whose backend has left are dropped on the way."""
        members, usable, heap = self.roster.members, self.roster.usable, self._heap
        chosen = None
        avoided: list[int] = []
        while heap:
            backend = members[heap[0]]
            if backend in usable and backend not in avoid:
                chosen = backend
                break
            place = heappop(heap)
            if backend in usable:
                avoided.append(place)
            else:
                self._queued.discard(place)
        for place in avoided:
            heappush(heap, place)
        return chosen

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """Place and room of each."""
        return {
            backend: f"place {place}, {backend.active} connections{_limit(backend)}"
            for place, backend in enumerate(self.roster.members, 1)
            if backend in self.roster.usable
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """What is the matter with the one before."""
        place = self.roster.position[chosen]
        if place == 0:
            return "it is the first in the rule's order, and it has room"
        before = self.roster.members[place - 1]
        obstacle = before.obstacle(now)
        what = obstacle.value if obstacle else "already tried"
        return (
            f"it is the first in the rule's order that has room; {before.id}, before it, is {what}"
        )


def _limit(backend: Backend) -> str:
    return f" of {backend.max_connections}" if backend.max_connections else ", no limit"
