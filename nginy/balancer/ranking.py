"""Backends in the order of a key that changes often: the least one in O(log n)."""

from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush, heapreplace

from nginy.backend.backend import Backend

_Entry = tuple[float, float, int, Backend]
SPARE = 16
"""Outdated entries that are kept in any case, so that few backends do not compact at each step."""


class Ranking:
    """A heap with lazy deletion, by a key of two numbers. Of equal keys the one set first leads."""

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

    def first(self, avoid: Collection[Backend]) -> Backend | None:
        """The one with the least key that is not in `avoid`; None: there is none."""
        heap, entries = self._heap, self._entries
        passed_over: list[_Entry] = []
        found = None
        while heap:
            backend = heap[0][3]
            if entries.get(backend) is not heap[0]:
                heappop(heap)
            elif backend in avoid:
                passed_over.append(heappop(heap))
            else:
                found = backend
                break
        for entry in passed_over:
            heappush(heap, entry)
        return found

    def _tidy(self) -> None:
        self._heap = list(self._entries.values())
        heapify(self._heap)
