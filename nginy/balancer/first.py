"""First: HAProxy's balance first."""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import FirstSettings


class First(Balancer[FirstSettings]):
    """The first backend, in the order of the rule, that is up and has room.

    Fills one backend up to its max_connections before it uses the next, so that those at the end
    can be switched off; without max_connections the first gets everything. Unavailable choice: the
    next in order. Weights play no part (HAProxy's neither). HAProxy goes by its servers' numeric
    ids, here it is their order in the rule. Cost: O(log n), one step unless earlier ones left.
    Source: lb_fas.c of HAProxy 2.6.
    """

    def prepare(self) -> None:
        """Places of usable members, nobody yet."""
        self._heap: list[int] = []
        self._queued: set[int] = set()

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Places are others."""
        self._heap.clear()
        self._queued.clear()

    def joined(self, backend: Backend, now: float) -> None:
        """Its place may be the first."""
        place = self.roster.position[backend]
        if place not in self._queued:
            self._queued.add(place)
            heappush(self._heap, place)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The first eligible one; places whose backend has left are dropped on the way."""
        members, heap = self.roster.members, self._heap
        passed_over: list[int] = []
        while (chosen := members[heap[0]]) not in eligible:
            place = heappop(heap)
            if chosen in self.roster.usable:
                passed_over.append(place)
            else:
                self._queued.discard(place)
        for place in passed_over:
            heappush(heap, place)
        return chosen

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
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
