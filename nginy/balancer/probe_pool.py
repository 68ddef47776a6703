"""Prequal's pool of probe answers, and the rule that chooses among them."""

import random
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import ceil, inf
from operator import attrgetter

from nginy.backend.backend import Backend
from nginy.balancer.roster import Tried

REMEMBERED = 128
"""The quantile of requests in flight is that of so many answers, the last ones."""


@dataclass(eq=False, slots=True)
class PooledAnswer:
    """What a backend said of itself, and how often that may still be used."""

    backend: Backend
    in_flight: int
    """As answered, and one more for each connection sent there since."""
    latency_s: float
    at: float
    """When the answer came, in seconds."""
    uses: int


def reuse_budget(
    pool_size: int, backends: int, probes_per_pick: float, removed_per_pick: float, delta: float
) -> float:
    """How often one answer may be used, on average: b_reuse of the paper (section 4).

    max(1, (1 + delta) / ((1 - m / n) r_probe - r_remove)); 1 where the denominator is not positive,
    as with few backends: their answers come often enough.
    """
    net = (1 - pool_size / backends) * probes_per_pick - removed_per_pick
    return max(1.0, (1 + delta) / net) if net > 0 else 1.0


def rounded(value: float, rng: random.Random) -> int:
    """`value` up or down to a whole number by chance, right on average."""
    whole = int(value)
    return whole if whole == value else whole + (rng.random() < value - whole)


def hot_and_cold(answers: Sequence[PooledAnswer], threshold: float) -> PooledAnswer | None:
    """Hot-cold lexicographic: of the cold the least latency, else the least in flight.

    Of equal ones the first, the oldest, is used up before it is too old.
    """
    cold: PooledAnswer | None = None
    hot: PooledAnswer | None = None
    for answer in answers:
        if answer.in_flight <= threshold:
            if cold is None or answer.latency_s < cold.latency_s:
                cold = answer
        elif hot is None or answer.in_flight < hot.in_flight:
            hot = answer
    return cold or hot


class RecentInFlight:
    """The requests in flight of the last answers, and their quantile."""

    def __init__(self) -> None:
        """None yet."""
        self._queue: deque[int] = deque()
        self._sorted: list[int] = []

    def add(self, in_flight: int) -> None:
        """One more answer; the oldest beyond REMEMBERED is forgotten."""
        self._queue.append(in_flight)
        insort(self._sorted, in_flight)
        if len(self._queue) > REMEMBERED:
            del self._sorted[bisect_left(self._sorted, self._queue.popleft())]

    def quantile(self, fraction: float) -> float:
        """The least value that is not below `fraction` of them; 0: below all, 1: above all."""
        if fraction >= 1 or not self._sorted:
            return inf
        if fraction <= 0:
            return -inf
        return self._sorted[ceil(fraction * len(self._sorted)) - 1]


class ProbePool:
    """A few answers, the oldest first."""

    def __init__(self, hot_quantile: float, max_age_s: float) -> None:
        """Empty."""
        self.answers: list[PooledAnswer] = []
        self._hot_quantile = hot_quantile
        self._max_age_s = max_age_s
        self._recent = RecentInFlight()
        self._worst_next = False
        self.threshold = self._recent.quantile(hot_quantile)
        """Above so many requests in flight a backend is hot."""

    def add(self, answer: PooledAnswer, size: int) -> None:
        """A new answer; the oldest ones beyond `size` go."""
        self._recent.add(answer.in_flight)
        self.threshold = self._recent.quantile(self._hot_quantile)
        self.answers.append(answer)
        del self.answers[: max(0, len(self.answers) - size)]

    def expire(self, now: float) -> None:
        """Drop the answers that are too old."""
        while self.answers and now - self.answers[0].at > self._max_age_s:
            del self.answers[0]

    def forget(self, backend: Backend) -> None:
        """Drop the answers of `backend`."""
        self.answers = [answer for answer in self.answers if answer.backend is not backend]

    def best(self, tried: Tried, suspects: Collection[Backend]) -> PooledAnswer | None:
        """The answer to follow, one of a suspect only if there is no other; None: fewer than two.

        Two answers are needed because one is no choice.
        """
        answers = self.answers
        if tried:
            answers = [answer for answer in answers if answer.backend not in tried]
        if len(answers) < 2:
            return None
        if suspects:
            trusted = [answer for answer in answers if answer.backend not in suspects]
            answers = trusted or answers
        return hot_and_cold(answers, self.threshold)

    def use(self, answer: PooledAnswer) -> None:
        """One use less of `answer`, and one more in flight in every answer of its backend."""
        backend = answer.backend
        answer.uses -= 1
        if answer.uses <= 0:
            self.answers.remove(answer)
        for other in self.answers:
            if other.backend is backend:
                other.in_flight += 1

    def remove(self, count: int) -> None:
        """Drop `count` answers, the oldest and the worst in turn."""
        for _ in range(min(count, len(self.answers))):
            self.answers.remove(self._worst() if self._worst_next else self.answers[0])
            self._worst_next = not self._worst_next

    def _worst(self) -> PooledAnswer:
        """Most in flight if somebody is hot, else the highest latency."""
        most = max(self.answers, key=_in_flight)
        return most if most.in_flight > self.threshold else max(self.answers, key=_latency_s)


_in_flight = attrgetter("in_flight")
_latency_s = attrgetter("latency_s")
