"""Backends in the order of a key that changes often, and weighted turns as such a key."""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from nginy.backend.backend import Backend
from nginy.balancer.roster import Eligible, Follower

_Entry = tuple[float, float, int, Backend]
SPARE = 16
"""Outdated entries that are kept in any case, so that few backends do not compact at each step."""


class Ranking:
    """The one with the least key of two numbers in O(log n); of equal keys the one set first leads.

    A heap with lazy deletion.
    """

    def __init__(self) -> None:
        """Empty."""
        self._entries: dict[Backend, _Entry] = {}
        self._heap: list[_Entry] = []
        self._number = 0

    def __len__(self) -> int:
        """How many are ranked."""
        return len(self._entries)

    def __contains__(self, backend: object) -> bool:
        """Whether it is ranked."""
        return backend in self._entries

    def set(self, backend: Backend, first: float, second: float) -> None:
        """Rank `backend` by the key (first, second), anew if it is ranked. O(log n) amortised."""
        self._number += 1
        heap, entries = self._heap, self._entries
        entry = (first, second, self._number, backend)
        old, entries[backend] = entries.get(backend), entry
        if old is not None and heap[0] is old:
            heapreplace(heap, entry)
        elif len(heap) > 2 * len(entries) + SPARE:
            self._tidy()
        else:
            heappush(heap, entry)

    def set_all(self, keys: Iterable[tuple[Backend, float, float]]) -> None:
        """Rank these and nobody else. O(n)."""
        self._entries = {
            backend: (first, second, number, backend)
            for number, (backend, first, second) in enumerate(keys)
        }
        self._number = len(self._entries)
        self._tidy()

    def discard(self, backend: Backend) -> None:
        """Rank it no more. O(1)."""
        self._entries.pop(backend, None)

    def first(self, eligible: Eligible) -> Backend | None:
        """The one of `eligible` with the least key; None: nobody of them is ranked."""
        heap, entries = self._heap, self._entries
        passed_over: list[_Entry] = []
        found = None
        while heap:
            backend = heap[0][3]
            if entries.get(backend) is not heap[0]:
                heappop(heap)
            elif backend in eligible:
                found = backend
                break
            else:
                passed_over.append(heappop(heap))
        for entry in passed_over:
            heappush(heap, entry)
        return found

    def _tidy(self) -> None:
        self._heap = list(self._entries.values())
        heapify(self._heap)


class Turns(Follower):
    """Weighted round robin by virtual time, for weights that are any positive numbers and change.

    When whose turn is; the order among those that a caller may choose is the caller's: a ranking.

    nginx's smooth round robin looks at every member at every step; where nearly every weight is a
    different one, that cannot be had in less than O(n). Here every member has the virtual time of
    its next turn, 1 / weight after the last, the first one half of that from now: the Sainte-Lague
    order (5, 1, 1 gives 0 0 0 1 2 0 0), in which each has exactly `weight` turns per period. Who
    was away does not catch up: its turn is now (start-time fair queueing: Goyal, Vin, Cheng,
    SIGCOMM 1996).
    """

    def __init__(self) -> None:
        """Nobody yet."""
        self._now = 0.0
        self._turns: dict[Backend, float] = {}
        self._weights: dict[Backend, float] = {}

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
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
