"""Open connections per backend, where several worker processes can see them.

An anonymous shared mapping, inherited by fork: one row per worker, one column per backend, one
writer per row, so no locks. A limit is compared with the sum over the rows. Which backend has which
column is decided by `Columns`, before the fork for all that are configured.
"""

import mmap
from collections.abc import Iterable
from typing import Protocol


class SharedCounts:
    """A matrix of counters, `rows` workers by `columns` backends, all 0."""

    def __init__(self, rows: int, columns: int) -> None:
        """Made before the workers are forked; each then calls `be_worker`."""
        self._rows, self.columns = rows, columns
        """Backends there is room for."""
        self._cells = memoryview(mmap.mmap(-1, 8 * rows * columns)).cast("q")
        self._own = 0

    def be_worker(self, row: int) -> None:
        """From now on, write to `row`; what a worker that died has left there is cleared."""
        if not 0 <= row < self._rows:
            raise ValueError(f"row {row} of {self._rows}")
        self._own = row * self.columns
        for column in range(self.columns):
            self.set(column, 0)

    def set(self, column: int, value: int) -> None:
        """What this worker carries."""
        self._cells[self._own + column] = value

    def others(self, column: int) -> int:
        """What the other workers carry."""
        if self._rows == 1:
            return 0
        every = sum(self._cells[column :: self.columns])
        return every - self._cells[self._own + column]


class Counted(Protocol):
    """A backend."""

    counts: SharedCounts | None
    slot: int
    active: int


class Columns:
    """Gives backends their columns, and takes back those of who left once nothing is open."""

    def __init__(self, counts: SharedCounts) -> None:
        """All columns are free."""
        self._counts = counts
        self._free = list(range(counts.columns))[::-1]
        self._leaving: list[Counted] = []

    def give(self, backends: Iterable[Counted]) -> None:
        """A column to each; who finds none left is counted in this process only."""
        self._take_back()
        for backend in backends:
            if backend.counts is None and self._free:
                backend.counts, backend.slot = self._counts, self._free.pop()
                self._counts.set(backend.slot, backend.active)

    def leave(self, backends: Iterable[Counted]) -> None:
        """They are no longer members; what is open on them is still counted."""
        self._leaving += [backend for backend in backends if backend.counts is not None]

    def _take_back(self) -> None:
        still = []
        for backend in self._leaving:
            if backend.active:
                still.append(backend)
            else:
                backend.counts = None
                self._free.append(backend.slot)
        self._leaving = still
