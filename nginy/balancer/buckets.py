"""Members sorted by an exact score, those of equal score together: who ties for the least?"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from nginy.balancer.smooth import SmoothGroup, Standing

GroupT = TypeVar("GroupT", bound=SmoothGroup)
SCALE_BITS = 80
"""Shares are below 2**38 (settings.LARGEST weights of 100 units), so two different ratios differ
by more than 2**-76: scaled by 2**80 they differ after rounding down, too."""


def exact_ratio(amount: int, share: int) -> int:
    """An integer that orders, and tells apart, fractions `amount / share` exactly.

    Floats would not do: 1/3 of one backend must equal 2/6 of another, and different ratios must
    never be rounded together.
    """
    return (amount << SCALE_BITS) // share


class Buckets(Generic[GroupT]):
    """A group per score, and a heap of the scores. `put` and `least` cost O(log n) amortised."""

    def __init__(self, make_group: Callable[[], GroupT]) -> None:
        """Nobody yet."""
        self._make_group = make_group
        self._groups: dict[int, GroupT] = {}
        self._scores: list[int] = []
        """The keys of `_groups`, a heap; some groups may be empty."""
        self._sweep_at = 64

    def put(self, standing: Standing, score: int) -> None:
        """Let a member, which is in no group, join those of `score`."""
        group = self._groups.get(score)
        if group is None:
            self._sweep()
            group = self._groups[score] = self._make_group()
            heappush(self._scores, score)
        group.join(standing)

    def least(self) -> GroupT | None:
        """Those with the least score; None if there is nobody."""
        while self._scores:
            group = self._groups[self._scores[0]]
            if group.size:
                return group
            del self._groups[heappop(self._scores)]
        return None

    def get(self, score: int) -> GroupT | None:
        """Those of `score`; they may be none, and so may the group."""
        return self._groups.get(score)

    def _sweep(self) -> None:
        """Forget empty groups once they may be in the majority."""
        if len(self._groups) >= self._sweep_at:
            self._groups = {score: group for score, group in self._groups.items() if group.size}
            self._scores = list(self._groups)
            heapify(self._scores)
            self._sweep_at = 2 * len(self._groups) + 64
