"""Random: nginx's random."""

from collections.abc import Collection, Iterator

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import SettingsT
from nginy.balancer.weighted import MAX_MISSES, WeightedBalancer


class RandomChoice(WeightedBalancer[SettingsT]):
    """Each pick independent, with probability proportional to weight.

    A draw that cannot be used is repeated; the 21st miss falls back to a step of smooth round
    robin. nginx counts misses over all attempts of one connection, this counts them per pick.
    Cost: O(log n) per draw.
    Source: ngx_stream_upstream_random_module.c (nginx 1.22.1).
    """

    def draws(self) -> Iterator[Backend]:
        """Up to 21 members, usable or not, drawn by weight; none where there is no choice."""
        if len(self.members) > 1:
            for _ in range(MAX_MISSES + 1):
                yield self.member_at(self.rng.randrange(self.total_weight))

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The first usable draw."""
        for backend in self.draws():
            if self.can_use(backend, avoid):
                return backend
        return self.pick_smooth(avoid)
