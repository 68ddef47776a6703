"""How late a regular tick of the event loop is: what held the loop, as one figure."""

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from typing import NamedTuple

WINDOW_S = 60.0
SLICES = 12
BOUNDS_MS = tuple(0.1 * 1.2**step for step in range(64))
"""Upper bounds of the counted classes, 20 % apart, 0.1 ms to 10 s: a p99 is that exact."""


class Lag(NamedTuple):
    """Over about the last minute, in milliseconds."""

    p99_ms: float
    max_ms: float


class _Slice:
    """What was seen in one twelfth of the window."""

    __slots__ = ("began_at", "counts", "max_ms")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.max_ms = 0.0


class LoopLag:
    """Told of every tick, in bounded memory; 0.4 us each."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._slices: deque[_Slice] = deque(maxlen=SLICES)

    def add(self, late_s: float, now: float) -> None:
        """A tick came `late_s` seconds after its time, at `now` (monotonic seconds)."""
        if not self._slices or now - self._slices[-1].began_at >= WINDOW_S / SLICES:
            self._slices.append(_Slice(now))
        late_ms = max(0.0, late_s * 1e3)
        part = self._slices[-1]
        part.counts[bisect_left(BOUNDS_MS, late_ms)] += 1
        part.max_ms = max(part.max_ms, late_ms)

    def figure(self, now: float) -> Lag | None:
        """The lag of the last minute; None: no tick came in it."""
        parts = [part for part in self._slices if now - part.began_at < WINDOW_S]
        if not parts:
            return None
        max_ms = max(part.max_ms for part in parts)
        counts = [sum(column) for column in zip(*(part.counts for part in parts), strict=True)]
        sums = list(accumulate(counts))
        place = bisect_left(sums, 0.99 * sums[-1])
        return Lag(min(max_ms, BOUNDS_MS[place]) if place < len(BOUNDS_MS) else max_ms, max_ms)
