"""Open connections per backend, where several worker processes can see them.

An anonymous shared mapping, inherited by fork: one row per worker, one column per backend, one
writer per row, so no locks. A limit is compared with the sum over the rows.
"""

import mmap


class SharedCounts:
    """A matrix of counters, `rows` workers by `columns` backends, all 0."""

    def __init__(self, rows: int, columns: int) -> None:
        """Made before the workers are forked; each then calls `be_worker`."""
        self._rows, self._columns = rows, columns
        self._cells = memoryview(mmap.mmap(-1, 8 * rows * columns)).cast("q")
        self._own = 0

    def be_worker(self, row: int) -> None:
        """From now on, write to `row`; what a worker that died has left there is cleared."""
        if not 0 <= row < self._rows:
            raise ValueError(f"row {row} of {self._rows}")
        self._own = row * self._columns
        for column in range(self._columns):
            self.set(column, 0)

    def set(self, column: int, value: int) -> None:
        """What this worker carries."""
        self._cells[self._own + column] = value

    def others(self, column: int) -> int:
        """What the other workers carry."""
        if self._rows == 1:
            return 0
        every = sum(self._cells[column :: self._columns])
        return every - self._cells[self._own + column]
