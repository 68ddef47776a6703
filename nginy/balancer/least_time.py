"""Least time: nginx's least_time."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import count, islice
from math import inf

from nginy.address import Address
from nginy.backend.backend import FULL_SHARE, Backend
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.least_conn import Buckets, exact_ratio
from nginy.balancer.response_time import ResponseTime, average, milliseconds
from nginy.balancer.roster import Eligible, Tried
from nginy.balancer.round_robin import Standings, in_weights
from nginy.balancer.smooth import SmoothGroup, Standing
from nginy.config.strategies import LeastTimeSettings


class TiedGroup(SmoothGroup):
    """Members of the same estimate per weight, which can also be walked in order."""

    __slots__ = ("positions",)

    def __init__(self) -> None:
        """Nobody yet."""
        super().__init__()
        self.positions: list[int] = []

    def join(self, standing: Standing) -> None:
        """Take a place in the order."""
        super().join(standing)
        insort(self.positions, standing.position)

    def leave(self, standing: Standing) -> None:
        """Give the place up."""
        super().leave(standing)
        del self.positions[bisect_left(self.positions, standing.position)]


class LeastTime(Balancer[LeastTimeSettings]):
    """The backend that would be done first: average time times (connections + 1), per weight.

    The average of `metric` follows each successful connection by 1/20 and counts in classes of
    20 ms. Every fail_timeout + 1 s halves it until the backend is tried again, so that a slow one
    gets another chance. With `inflight`, a backend counts at least with the smoothed mean age
    of its connections that still wait. A backend not yet measured counts as the fastest. Ties are
    broken by smooth round robin; where the tied differ in weight, nginx's loop is followed, which
    stops once a heavier one leads. Unavailable backends are left out.

    Cost: O(log n + distinct weights) per pick and event. Two exceptions are linear, because each
    visit changes what the next pick compares: where the tied differ in weight, the part of them
    that nginx's loop visits before it stops (0.35 us each: half a millisecond where thousands of
    10 000 tie, 2 us if they have equal weights); with `inflight`, the backends that have
    connections waiting, whose ages nginx smooths at every pick.
    Source: ngx_stream_upstream_least_time_module.c (nginx 1.31.5). nginx compares whole seconds
    for the halving, so that its periods are up to 1 s longer or shorter.
    """

    watches_load = True

    def prepare(self) -> None:
        """Nobody is measured yet."""
        self.wants_progress = self.settings.inflight and self.settings.metric == "first_byte"
        self._buckets = Buckets(TiedGroup)
        self._standings = self.roster.followed_by(Standings(self.roster, self._enter))
        self._times: dict[Backend, ResponseTime] = {}
        self._waiting: dict[Backend, None] = {}
        self._halvings: list[tuple[float, int, Backend]] = []
        self._numbers = count()

    # Membership and sorting.

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """What is known of those who stay is kept."""
        known = self._times
        self._times = {backend: known.get(backend) or ResponseTime() for backend in members}
        self._waiting = {backend: None for backend in self._waiting if backend in self._times}

    def _enter(self, standing: Standing, now: float) -> None:
        """Join those with the same estimate per weight."""
        backend = standing.backend
        times = self._times[backend]
        due = times.halved_next_at
        estimate = times.estimate(backend.active, self._period(backend), now)
        if times.halved_next_at not in (due, inf):
            heappush(self._halvings, (times.halved_next_at, next(self._numbers), backend))
        self._buckets.put(standing, exact_ratio(estimate, standing.share))

    def load_changed(self, backend: Backend, now: float) -> None:
        """Another estimate."""
        self._standings.sort(backend, now)

    def _period(self, backend: Backend) -> float:
        return backend.penalty.fail_timeout_s + 1

    # Picking.

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The backend with the least estimate per weight."""
        self._halve(now)
        for backend in self._waiting:
            if backend in eligible:
                self._times[backend].grow_older(now)
                self.load_changed(backend, now)
        return self._standings.sparing(tried, now, self._least) if tried else self._least()

    def _halve(self, now: float) -> None:
        while self._halvings and self._halvings[0][0] <= now:
            due, _, backend = heappop(self._halvings)
            times = self._times.get(backend)
            if times is not None and times.halved_next_at == due:
                self.load_changed(backend, now)

    def _least(self) -> Backend:
        tied = self._buckets.least()
        if tied.size == 1:
            return tied.only()
        return tied.step() if tied.uniform else self._uneven_step(tied)

    def _uneven_step(self, tied: TiedGroup) -> Backend:
        """nginx's tie loop. It compares the first one's estimate with the weight of whoever leads:
        as long as that weight is the first one's, the tied are meant, then others or nobody."""
        best = self._at(tied.positions[0])
        estimate = self._times[best.backend].estimate_ms
        most, total, after = -inf, 0, -1
        group: TiedGroup | None = tied
        while group is not None:
            share = best.share
            for position in islice(group.positions, bisect_right(group.positions, after), None):
                standing = self._at(position)
                total += group.step_alone(standing)
                owed = group.owed(standing)
                if owed > most:
                    best, most, after = standing, owed, position
                    if best.share != share:
                        break
            else:
                break
            group = self._buckets.get(exact_ratio(estimate, best.share))
        assert best.group is not None
        best.group.charge(best, total)
        return best.backend

    def _at(self, position: int) -> Standing:
        return self._standings.of[self.roster.members[position]]

    # The life of a lease.

    def opened(self, backend: Backend, now: float) -> None:
        """It was tried just now, and with `inflight` one more waits."""
        times = self._times.get(backend)
        if times is not None:
            again = times.tried(self._period(backend), now)
            if self.settings.inflight:
                times.wait_begins(now)
                self._waiting[backend] = None
            if again or self.settings.inflight:
                self.load_changed(backend, now)

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        """With `inflight`, the sample of `connect`."""
        if self.settings.metric == "connect":
            self._answered(backend, seconds, now)

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        """With `inflight`, the sample of `first_byte`."""
        if self.settings.metric == "first_byte":
            self._answered(backend, seconds, now)

    def _answered(self, backend: Backend, seconds: float, now: float) -> None:
        times = self._times.get(backend)
        if times is not None and self.settings.inflight:
            times.average_ms = average(times.average_ms, milliseconds(seconds))
            self._wait_ends(backend, times, seconds, now)
            self.load_changed(backend, now)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """Without `inflight`, the sample, unless the attempt failed; last bytes in any case."""
        times = self._times.get(backend)
        if times is not None:
            before = times.average_ms, times.tried_at, times.waiting
            seconds = self._sample(outcome)
            at_once = self.settings.inflight and self.settings.metric != "last_byte"
            if self.settings.inflight and not (at_once and seconds is not None):
                self._wait_ends(backend, times, outcome.duration_s, now)
            if not (outcome.failed or at_once or seconds is None):
                times.average_ms = average(times.average_ms, milliseconds(seconds))
            if outcome.failed:
                times.tried_at = now
            if before != (times.average_ms, times.tried_at, times.waiting):
                self.load_changed(backend, now)
        super().closed(backend, outcome, now)

    def _sample(self, outcome: Outcome) -> float | None:
        """The metric of a lease; None: it did not come to that."""
        if self.settings.metric == "connect":
            return outcome.connect_s
        if self.settings.metric == "first_byte":
            return outcome.first_byte_s
        return outcome.last_byte_s or outcome.duration_s or None

    def _wait_ends(self, backend: Backend, times: ResponseTime, seconds: float, now: float) -> None:
        times.wait_ends(milliseconds(seconds), now)
        if not times.waiting:
            self._waiting.pop(backend, None)

    # To explain.

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Time class, connections and weight of each."""
        return {backend: self._score(backend) for backend in self.roster.in_order()}

    def _score(self, backend: Backend) -> str:
        estimate = self._times[backend].estimate_ms
        class_ms = estimate // (1 + backend.active)
        per_weight = FULL_SHARE * estimate / backend.share
        return (
            f"{class_ms} ms x ({backend.active} open + 1) / {in_weights(backend.share)}"
            f" = {per_weight:.4g} ms"
        )

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its score."""
        if self._times[chosen].average_ms == 0:
            return f"not measured yet, so it counts as fast: {self._score(chosen)}"
        return f"least time per weight: {self._score(chosen)}"
