"""Least connections: nginx's least_conn."""

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.roster import Eligible, Tried
from nginy.balancer.round_robin import Standings, in_weights
from nginy.balancer.smooth import SmoothGroup, Standing
from nginy.config.strategies import LeastConnSettings

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
    """Who ties for the least? A group per exact score, and a heap of the scores.

    `put` and `least` cost O(log n) amortised.
    """

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

    def least(self) -> GroupT:
        """Those with the least score; there must be somebody."""
        while not (group := self._groups[self._scores[0]]).size:
            del self._groups[heappop(self._scores)]
        return group

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


class LeastConn(Balancer[LeastConnSettings]):
    """The backend with the fewest open connections per unit of weight.

    Ratios are compared exactly; several backends with the smallest one are told apart by a step
    of smooth round robin among them. So an idle group is used in round robin order, and the first
    connection to each backend ignores weights (0 / w is a tie). An unavailable backend is left
    out of the comparison. Cost: O(log n + distinct weights) per pick and per change of a counter,
    of whichever rule; nginx's walk is O(n).
    Source: ngx_stream_upstream_least_conn_module.c (nginx 1.22.1).
    """

    watches_load = True

    def prepare(self) -> None:
        """Groups of equal connections per weight."""
        self._buckets = Buckets(SmoothGroup)
        self._standings = self.roster.followed_by(Standings(self.roster, self._enter))

    def _enter(self, standing: Standing, now: float) -> None:
        score = exact_ratio(standing.backend.active, standing.share)
        self._buckets.put(standing, score)

    def load_changed(self, backend: Backend, now: float) -> None:
        """Join others."""
        self._standings.sort(backend, now)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The least loaded backend."""
        return self._standings.sparing(tried, now, self._least) if tried else self._least()

    def _least(self) -> Backend:
        tied = self._buckets.least()
        # nginx leaves the smooth weights alone when there is no tie.
        return tied.only() if tied.size == 1 else tied.step()

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Connections per weight, and what ties are decided by."""
        return {backend: self._score(backend) for backend in self.roster.in_order()}

    def _score(self, backend: Backend) -> str:
        share = backend.share
        standing = self._standings.of[backend]
        owed = standing.group.owed(standing) if standing.group is not None else standing.current
        ratio = 100 * backend.active / share
        return f"{backend.active} open / {in_weights(share)} = {ratio:.3g}, owed {in_weights(owed)}"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its ratio, and whether others have the same."""
        group = self._standings.of[chosen].group
        others = group.size - 1 if group is not None else 0
        said = f"fewest open connections per weight: {chosen.active} / {in_weights(chosen.share)}"
        return f"{said}; {others + 1} tie, and round robin decides" if others else said
