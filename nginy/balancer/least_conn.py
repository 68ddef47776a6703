"""Least connections: nginx's least_conn."""

from collections.abc import Collection

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.weighted import WeightedBalancer
from nginy.config.strategies import LeastConnSettings


class LeastConn(WeightedBalancer[LeastConnSettings]):
    """The backend with the fewest open connections per unit of weight.

    Ratios are compared exactly, by cross products; several backends with the smallest one are
    told apart by a step of smooth round robin among them. So an idle group is used in round
    robin order, and the first connection to each backend ignores weights (0 / w is a tie). An
    unavailable backend is left out of the comparison. Cost: O(n) per pick, because the counters
    belong to the backends and other rules move them too.
    Source: ngx_stream_upstream_least_conn_module.c (nginx 1.22.1).
    """

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The least loaded backend."""
        tied: list[Backend] = []
        for backend in self.all_usable(avoid):
            excess = (
                backend.active * tied[0].weight - tied[0].active * backend.weight if tied else 0
            )
            if excess < 0:
                tied = [backend]
            elif excess == 0:
                tied.append(backend)
        # nginx leaves the smooth weights alone when there is no tie.
        return tied[0] if len(tied) == 1 else self.smooth.step(tied)
