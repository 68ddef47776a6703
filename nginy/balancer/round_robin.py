"""Smooth weighted round robin: nginx's default method."""

from collections.abc import Collection, Mapping

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.weighted import WeightedBalancer, in_weights
from nginy.config.strategies import RoundRobinSettings


class RoundRobin(WeightedBalancer[RoundRobinSettings]):
    """Each backend exactly `weight` times per period, spread as evenly as possible.

    Every step adds each usable backend's effective weight to what it is owed; the one owed most
    is chosen and pays the total. Weights 5, 1, 1 give 0 0 1 0 2 0 0. An unavailable backend is
    left out of the step. Cost per pick: O(log n + distinct weights); nginx's walk is O(n).
    Source: ngx_stream_upstream_round_robin.c (nginx 1.22.1).
    """

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The backend owed most."""
        return self.pick_smooth(now, avoid)

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """What each will be owed at the next pick."""
        return {
            backend: f"owed {in_weights(owed + self._standings[backend].effective)}"
            for backend, owed in self.owed().items()
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """What it was owed, before it paid."""
        total = self._group.total
        owed = self._group.owed(self._standings[chosen]) + total
        return f"it was owed most: {in_weights(owed)}, and pays the sum of weights, " + in_weights(
            total
        )
