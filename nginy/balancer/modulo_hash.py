"""Hashes modulo the sum of weights: what nginx's hash and ip_hash have in common."""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import SettingsT
from nginy.balancer.laid_out import LaidOutBalancer
from nginy.balancer.weighted import MAX_MISSES


class ModuloHash(LaidOutBalancer[SettingsT]):
    """Members lie end to end by weight; a client's hash modulo the sum of weights falls into one.

    A client whose choice is unavailable hashes on, so that the clients of that backend alone move,
    and spread over the others; the 21st miss falls back to a step of smooth round robin (not
    sticky). Unavailable and drained backends keep their place, as in nginx; slow start changes
    nothing (keys would move away and back again). A changed weight, as well as a removed backend,
    moves about 1 - 1/n of all keys.
    Cost: O(log n) per step, one step unless the choice is unavailable; O(n) once after a weight
    has changed.
    """

    @staticmethod
    def length(backend: Backend) -> int:
        """Neither slow start nor draining changes it."""
        return backend.place_weight

    @abstractmethod
    def hashes(self, client: Address) -> Iterator[int]:
        """The client's hash, and endlessly what it is after 1, 2, ... misses."""

    @abstractmethod
    def key_text(self, client: Address) -> str:
        """What is hashed, to read."""

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The backend of the client's hash."""
        if len(self.roster.members) > 1:
            usable, table = self.roster.usable, self._table
            total = table.total
            misses = 0
            # The walk starts anew for each attempt: earlier choices of this connection, in
            # `avoid`, come up again, and the first time are not misses.
            earlier = list(avoid)
            for value in self.hashes(client):
                backend = table.at(value % total)
                if backend in usable and backend not in avoid:
                    return backend
                if backend in earlier:
                    earlier.remove(backend)
                    continue
                misses += 1
                if misses > MAX_MISSES:
                    break
        return self.pick_smooth(now, avoid)

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """The points of each."""
        total = self._table.total if self.roster.members else 0
        scores = {}
        for backend in self.usable():
            start, end = self._table.interval(self.roster.position[backend])
            scores[backend] = f"points {start} to {end - 1} of {total}"
        return scores

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Which point the hash is, and who was passed over."""
        if len(self.roster.members) == 1:
            return "it is the only one"
        total = self._table.total
        points = [value % total for value in islice(self.hashes(client), MAX_MISSES + 1)]
        owners = [self._table.at(point) for point in points]
        if chosen not in owners:
            return f"{MAX_MISSES + 1} hashes in a row fell on others, so round robin decided"
        steps = owners.index(chosen)
        said = f"the hash of {self.key_text(client)} falls on point {points[0]} of {total}"
        if not steps:
            return f"{said}, which is {chosen.id}"
        passed = ", ".join(dict.fromkeys(owner.id for owner in owners[:steps]))
        return f"{said}; {passed} passed over, and step {steps} falls on {chosen.id}"
