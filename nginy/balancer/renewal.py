"""Tables that take long to make are renewed in steps, while the one before them still serves."""

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

TableT = TypeVar("TableT")
Slices = Generator[None, None, TableT]
"""The making of a table, in steps of a millisecond or two (see STEP)."""
Later = Callable[[Iterator[None]], object]
"""Takes work in steps, and does them one at a time with other things in between."""
STEP = 1024
"""So many points or slots at once: 0.3 to 1.5 ms."""
PIECES_BITS = 10
"""Numbers are sorted in 1 024 pieces: 1.6 million in less than 1 ms each."""


def finished(slices: Slices[TableT]) -> TableT:
    """The table, made at once."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            table: TableT = end.value
            return table


def sorted_pieces(numbers: Iterable[int], bits: int) -> Iterator[list[int]]:
    """`numbers` of so many bits, spread evenly, in order: one sort would not let anybody between.

    While they are distributed over the pieces, empty lists come.
    """
    shift = max(0, bits - PIECES_BITS)
    pieces: list[list[int]] = [[] for _ in range(1 << min(bits, PIECES_BITS))]
    for count, number in enumerate(numbers, 1):
        pieces[number >> shift].append(number)
        if not count % STEP:
            yield []
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        piece.sort()
        yield piece


class Renewal(Generic[TableT]):
    """Makes a table, at once or in steps, and hands it over when it is ready."""

    def __init__(
        self, make: Callable[[float], Slices[TableT]], use: Callable[[TableT], object]
    ) -> None:
        """`make` takes the time and begins the table of what is then the case; `use` takes the one
        that is ready."""
        self._make = make
        self._use = use
        self._under_way: Generator[None, None, None] | None = None
        self.later: Later | None = None
        """None: nobody can do it later, so `soon` makes it at once."""

    def at_once(self, now: float) -> None:
        """Make it now; one that is under way is given up."""
        self.give_up()
        self._use(finished(self._make(now)))

    def soon(self, now: float) -> None:
        """Have it made. While one is under way no other is begun: with new weights every moment
        there would never be one that is ready."""
        if self.later is None:
            self.at_once(now)
        elif self._under_way is None:
            self._under_way = steps = self._steps(now)
            self.later(steps)

    def give_up(self) -> None:
        """What is under way is of no use any more."""
        if self._under_way is not None:
            steps, self._under_way = self._under_way, None
            steps.close()

    def _steps(self, now: float) -> Generator[None, None, None]:
        try:
            table = yield from self._make(now)
        finally:
            self._under_way = None
        self._use(table)
