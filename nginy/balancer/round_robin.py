"""Smooth weighted round robin: nginx's default method."""

from collections.abc import Collection

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.weighted import WeightedBalancer
from nginy.config.strategies import RoundRobinSettings


class RoundRobin(WeightedBalancer[RoundRobinSettings]):
    """Each backend exactly `weight` times per period, spread as evenly as possible.

    Every step adds each usable backend's effective weight to what it is owed; the one owed most
    is chosen and pays the total. Weights 5, 1, 1 give 0 0 1 0 2 0 0. An unavailable backend is
    left out of the step. Cost: O(n) per pick.
    Source: ngx_stream_upstream_round_robin.c (nginx 1.22.1).
    """

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The backend owed most."""
        return self.pick_smooth(avoid)
