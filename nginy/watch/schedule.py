"""When checks are due: spread over time, so that they neither start nor stay in step."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of one backend's checks, in seconds."""

    interval_s: float
    jitter_pct: float
    rng: random.Random

    def first_s(self) -> float:
        """From the start to the first check: anywhere in the first interval."""
        return self.interval_s * self.rng.random()

    def next_s(self) -> float:
        """From the beginning of a check to that of the next."""
        return self.interval_s * (1 + self.rng.random() * self.jitter_pct / 100)
