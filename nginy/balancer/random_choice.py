"""Random: nginx's random."""

from collections.abc import Collection, Iterator, Mapping

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import SettingsT
from nginy.balancer.laid_out import LaidOutBalancer
from nginy.balancer.weighted import MAX_MISSES, in_weights


class RandomChoice(LaidOutBalancer[SettingsT]):
    """Each pick independent, with probability proportional to weight, slow start included.

    A draw that cannot be used is repeated; the 21st miss falls back to a step of smooth round
    robin. nginx counts misses over all attempts of one connection, this counts them per pick.
    Cost: O(log n) per draw; O(n) once after a weight has changed.
    Source: ngx_stream_upstream_random_module.c (nginx 1.22.1).
    """

    @staticmethod
    def length(backend: Backend) -> int:
        """Slow start included."""
        return backend.share

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
