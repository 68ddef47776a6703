"""Least connections: nginx's least_conn."""

import random
from collections.abc import Collection, Mapping

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.buckets import Buckets, exact_ratio
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.smooth import SmoothGroup, Standing
from nginy.balancer.weighted import StandingBalancer, in_weights
from nginy.config.strategies import LeastConnSettings


class LeastConn(StandingBalancer[LeastConnSettings]):
    """The backend with the fewest open connections per unit of weight.

    Ratios are compared exactly; several backends with the smallest one are told apart by a step
    of smooth round robin among them. So an idle group is used in round robin order, and the first
    connection to each backend ignores weights (0 / w is a tie). An unavailable backend is left
    out of the comparison. Cost: O(log n + distinct weights) per pick and per change of a counter,
    of whichever rule; nginx's walk is O(n).
    Source: ngx_stream_upstream_least_conn_module.c (nginx 1.22.1).
    """

    watches_load = True

    def __init__(
        self,
        settings: LeastConnSettings,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        self._buckets = Buckets(SmoothGroup)

    def enter(self, standing: Standing, now: float) -> None:
        """Join those with the same connections per weight."""
        score = exact_ratio(standing.backend.active, standing.share)
        self._buckets.put(standing, score)

    def load_changed(self, backend: Backend, now: float) -> None:
        """Join others."""
        if backend in self.roster.usable:
            standing = self._standings[backend]
            self.leave(standing)
            self.enter(standing, now)

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The least loaded backend."""
        return self.sparing(avoid, now, self._least) if avoid else self._least()

    def _least(self) -> Backend | None:
        tied = self._buckets.least()
        if tied is None:
            return None
        # nginx leaves the smooth weights alone when there is no tie.
        return tied.only() if tied.size == 1 else tied.step()

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """Connections per weight, and what ties are decided by."""
        return {backend: self._score(backend) for backend in self.usable()}

    def _score(self, backend: Backend) -> str:
        share = backend.share
        standing = self._standings[backend]
        owed = standing.group.owed(standing) if standing.group is not None else standing.current
        ratio = 100 * backend.active / share
        return f"{backend.active} open / {in_weights(share)} = {ratio:.3g}, owed {in_weights(owed)}"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its ratio, and whether others have the same."""
        group = self._standings[chosen].group
        others = group.size - 1 if group is not None else 0
        said = f"fewest open connections per weight: {chosen.active} / {in_weights(chosen.share)}"
        return f"{said}; {others + 1} tie, and round robin decides" if others else said
