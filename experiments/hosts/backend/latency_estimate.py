"""What a request takes at the present load: the estimate that answers a probe. Pure."""

from collections import deque
from statistics import median
from typing import NamedTuple

REMEMBERED = 200
"""Latest requests that are looked at."""
MAX_AGE_S = 10.0
"""Older ones say nothing about now."""
NEAREST = 16
"""How many of them, nearest in load, make the median."""


class _Served(NamedTuple):
    done_s: float
    in_flight: int
    latency_s: float


class LatencyEstimate:
    """Median latency of recent requests that met about as many others as are in flight now.

    Source: Wydrowski, Kleinberg, Rumble, Archer, "Load is not what you should balance: Introducing
    Prequal", NSDI 2024, section 4; how near and how recent is this program's choice.
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self._served: deque[_Served] = deque(maxlen=REMEMBERED)

    def add(self, done_s: float, in_flight: int, latency_s: float) -> None:
        """A request ended at `done_s` that had found `in_flight` others, and took that long."""
        self._served.append(_Served(done_s, in_flight, latency_s))

    def at(self, now_s: float, in_flight: int) -> float:
        """Seconds; 0 while nothing recent is known."""
        recent = [one for one in reversed(self._served) if now_s - one.done_s <= MAX_AGE_S]
        recent.sort(key=lambda one: abs(one.in_flight - in_flight))  # stable: the latest first
        return median(one.latency_s for one in recent[:NEAREST]) if recent else 0.0
