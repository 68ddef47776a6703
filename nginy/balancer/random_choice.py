"""Random: nginx's random."""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import SettingsT
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.weight_table import WeightTable
from nginy.balancer.weighted import MAX_MISSES, WeightedBalancer, in_weights


class RandomChoice(WeightedBalancer[SettingsT]):
    """Each pick independent, with probability proportional to weight, slow start included.

    A draw that cannot be used is repeated; the 21st miss falls back to a step of smooth round
    robin. nginx counts misses over all attempts of one connection, this counts them per pick.
    Cost: O(log n) per draw; O(n) once after a weight has changed.
    Source: ngx_stream_upstream_random_module.c (nginx 1.22.1).
    """

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        self._table = WeightTable(lambda backend: backend.share)

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership."""
        super().rebuild(backends, now)
        self._table.rebuild(self.roster.members)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another share, for draws as well as for the fallback."""
        super().reweighed(backend, now)
        self._table.check(self.roster.position[backend])

    def draws(self) -> Iterator[Backend]:
        """Up to 21 members, usable or not, drawn by weight; none where there is no choice."""
        if len(self.roster.members) > 1:
            total = self._table.total
            for _ in range(MAX_MISSES + 1):
                yield self._table.at(int(self.rng.random() * total))

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The first usable draw."""
        usable = self.roster.usable
        for backend in self.draws():
            if backend in usable and backend not in avoid:
                return backend
        return self.pick_smooth(now, avoid)

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """The probabilities, of those who can be used."""
        usable = self.usable()
        total = sum(backend.share for backend in usable)
        return {
            backend: f"{100 * backend.share / total:.3g} % (weight {in_weights(backend.share)})"
            for backend in usable
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its chance."""
        return f"chance, in proportion to weight: {self.scores(client, now).get(chosen, '')}"
