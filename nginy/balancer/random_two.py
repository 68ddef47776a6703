"""Random, the better of two: nginx's random two least_conn."""

from collections.abc import Collection, Mapping

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.random_choice import RandomChoice
from nginy.balancer.weighted import in_weights
from nginy.config.strategies import RandomTwoSettings


class RandomTwo(RandomChoice[RandomTwoSettings]):
    """Two different usable backends are drawn by weight; the less loaded is chosen.

    Loads are open connections per unit of weight; on a tie the second draw wins, so a nearly
    idle group sees weights inverted (5, 1, 1 gives 24 / 38 / 38 %), as in nginx. After 21 draws
    without a pair, a step of smooth round robin decides. nginx counts draws over all attempts of
    one connection, this counts them per pick. Cost: O(log n) per draw; O(n) once after a weight
    has changed.
    Source: ngx_stream_upstream_random_module.c (nginx 1.22.1); Mitzenmacher, "The power of two
    choices in randomized load balancing", 2001.
    """

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The better of two usable draws."""
        usable = self.roster.usable
        first: Backend | None = None
        for backend in self.draws():
            if backend is first or backend not in usable or backend in avoid:
                continue
            if first is None:
                first = backend
            elif backend.active * first.share > first.active * backend.share:
                return first
            else:
                return backend
        return self.pick_smooth(now, avoid)

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """Chance to be drawn, and what the two drawn are compared by."""
        chances = super().scores(client, now)
        return {
            backend: f"{chance}; {backend.active} open / {in_weights(backend.share)}"
            for backend, chance in chances.items()
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """What it was compared by."""
        return (
            "not more loaded than the other one that was drawn:"
            f" {chosen.active} open / weight {in_weights(chosen.share)}"
        )
