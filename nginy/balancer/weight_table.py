"""Members laid end to end by weight: which of them is at a point?"""

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate

from nginy.backend.backend import Backend


class WeightTable:
    """Cumulated weights of the members. Laid out in O(n), when it is asked after a change."""

    def __init__(self, weigh: Callable[[Backend], int]) -> None:
        """No members until `rebuild`; `weigh` gives a member's length, at least 1."""
        self._weigh = weigh
        self._members: Sequence[Backend] = ()
        self._ends: list[int] = []
        self._stale = False

    @property
    def total(self) -> int:
        """Sum of all weights; there must be a member."""
        if self._stale:
            self.rebuild(self._members)
        return self._ends[-1]

    def rebuild(self, members: Sequence[Backend]) -> None:
        """Lay out `members`."""
        self._members = members
        self._ends = list(accumulate(map(self._weigh, members)))
        self._stale = False

    def check(self, position: int) -> None:
        """The weight of the member at `position` may be another one."""
        if not self._stale:
            start, end = self.interval(position)
            self._stale = end - start != self._weigh(self._members[position])

    def at(self, point: int) -> Backend:
        """The member at `point` in [0, total); ask `total` before. O(log n)."""
        return self._members[bisect(self._ends, point)]

    def interval(self, position: int) -> tuple[int, int]:
        """The points of the member at `position`: its first, and the first one after it."""
        return self._ends[position - 1] if position else 0, self._ends[position]
