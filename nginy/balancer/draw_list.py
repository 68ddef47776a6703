"""A set of backends from which one, or two different ones, are drawn uniformly in O(1)."""

import random
from collections.abc import Collection

from nginy.backend.backend import Backend


class DrawList:
    """The backends lie in one list; who leaves is replaced by the last, so no draw scans."""

    def __init__(self) -> None:
        """Empty."""
        self._backends: list[Backend] = []
        self._places: dict[Backend, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._backends)

    def add(self, backend: Backend) -> None:
        """Take `backend` in, which is not in it. O(1)."""
        self._places[backend] = len(self._backends)
        self._backends.append(backend)

    def remove(self, backend: Backend) -> None:
        """Take `backend` out, which is in it. O(1)."""
        place = self._places.pop(backend)
        last = self._backends.pop()
        if last is not backend:
            self._backends[place] = last
            self._places[last] = place

    def draw(self, rng: random.Random, avoid: Collection[Backend] = ()) -> Backend | None:
        """One that is not in `avoid`, each as likely as the others; None: there is none.

        Draws that hit `avoid` are repeated: with a of n avoided, n / (n - a) draws on average.
        """
        backends = self._backends
        if not backends or (avoid and not self._free(avoid)):
            return None
        while True:
            backend = backends[int(rng.random() * len(backends))]
            if not avoid or backend not in avoid:
                return backend

    def draw_two(
        self, rng: random.Random, avoid: Collection[Backend] = ()
    ) -> tuple[Backend | None, Backend | None]:
        """Two different ones, as `draw` draws them; the second, or both, None: there are none."""
        backends = self._backends
        if avoid or len(backends) < 2:
            first = self.draw(rng, avoid)
            return first, first and self.draw(rng, (first, *avoid))
        one = int(rng.random() * len(backends))
        other = int(rng.random() * (len(backends) - 1))
        return backends[one], backends[other + (other >= one)]

    def sample(self, rng: random.Random, count: int) -> list[Backend]:
        """Up to `count` different ones. O(count)."""
        return rng.sample(self._backends, min(count, len(self._backends)))

    def _free(self, avoid: Collection[Backend]) -> int:
        """How many may be drawn."""
        return len(self._backends) - sum(backend in self._places for backend in set(avoid))
