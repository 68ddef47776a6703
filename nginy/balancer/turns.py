"""Weighted round robin by virtual time, for weights that are any positive numbers and change.

nginx's smooth round robin looks at every member at every step; where nearly every weight is a
different one, that cannot be had in less than O(n). Here every member has the virtual time of its
next turn, 1 / weight after the last, the first one half of that from now: the Sainte-Lague order
(5, 1, 1 gives 0 0 0 1 2 0 0), in which each has exactly `weight` turns per period. Who was away
does not catch up: its turn is now (start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996).
"""

from collections.abc import Collection

from nginy.backend.backend import Backend


class Turns:
    """When whose turn is; the order among those that a caller may choose is the caller's."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._now = 0.0
        self._turns: dict[Backend, float] = {}
        self._weights: dict[Backend, float] = {}

    def keep(self, members: Collection[Backend]) -> None:
        """Forget who is not one of `members`."""
        for backend in self._turns.keys() - set(members):
            del self._turns[backend], self._weights[backend]

    def weigh(self, backend: Backend, weight: float) -> None:
        """Its weight is `weight` from now on; the wait for its next turn is scaled with it."""
        old = self._weights.get(backend)
        if old is None:
            self._turns[backend] = self._now + 0.5 / weight
        elif old != weight:
            wait = max(0.0, self._turns[backend] - self._now)
            self._turns[backend] = self._now + wait * old / weight
        self._weights[backend] = weight

    def of(self, backend: Backend) -> float:
        """The virtual time of its next turn; the least has waited longest for its weight."""
        return self._turns[backend]

    def take(self, backend: Backend) -> None:
        """It was chosen."""
        turns = self._turns
        if turns[backend] > self._now:
            self._now = turns[backend]
        turns[backend] = self._now + 1.0 / self._weights[backend]
