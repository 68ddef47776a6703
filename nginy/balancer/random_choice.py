"""Random draws by weight: nginx's random, and its random two least_conn."""

from collections.abc import Iterator, Mapping

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer, SettingsT
from nginy.balancer.draws import WeightTable
from nginy.balancer.roster import Eligible, Tried
from nginy.balancer.round_robin import MAX_MISSES, SmoothRobin, in_weights
from nginy.config.strategies import RandomTwoSettings


class RandomChoice(Balancer[SettingsT]):
    """Each pick independent, with probability proportional to weight, slow start included.

    A draw that cannot be used is repeated; the 21st miss falls back to a step of smooth round
    robin. nginx counts misses over all attempts of one connection, this counts them per pick.
    Cost: O(log n) per draw; O(n) once after a weight has changed.
    Source: ngx_stream_upstream_random_module.c (nginx 1.22.1).
    """

    def prepare(self) -> None:
        """All members by weight, and the fallback."""
        self._table = self.roster.followed_by(WeightTable(self.roster, _share))
        self._smooth = self.roster.followed_by(SmoothRobin(self.roster))

    def draws(self) -> Iterator[Backend]:
        """Up to 21 members, usable or not, drawn by weight; none where there is no choice."""
        if len(self.roster.members) > 1:
            total = self._table.total
            for _ in range(MAX_MISSES + 1):
                yield self._table.at(int(self.rng.random() * total))

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The first eligible draw."""
        for backend in self.draws():
            if backend in eligible:
                return backend
        return self._smooth.step(now, tried)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """The probabilities, of those who can be used."""
        usable = self.roster.in_order()
        total = sum(backend.share for backend in usable)
        return {
            backend: f"{100 * backend.share / total:.3g} % (weight {in_weights(backend.share)})"
            for backend in usable
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its chance."""
        return f"chance, in proportion to weight: {self.scores(client, now).get(chosen, '')}"


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

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The better of two eligible draws."""
        first: Backend | None = None
        for backend in self.draws():
            if backend is first or backend not in eligible:
                continue
            if first is None:
                first = backend
            elif backend.active * first.share > first.active * backend.share:
                return first
            else:
                return backend
        return self._smooth.step(now, tried)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
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


def _share(backend: Backend) -> int:
    """By this, slow start included, they are drawn."""
    return backend.share
