"""Slow start: a new or recovered backend gets its share little by little (HAProxy's slowstart).

Without it least connections sends everybody to the one backend that has nobody yet.
"""

from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class SlowStart:
    """A linear ramp from `floor` (a fraction) to 1 over `duration_s`; 0: no ramp."""

    duration_s: float = 0.0
    floor: float = 0.1
    began_at: float = field(default=float("-inf"), init=False)

    def begin(self, now: float) -> None:
        """Start at the floor."""
        self.began_at = now

    def ramping(self, now: float) -> bool:
        """Whether it is still below 1."""
        return now - self.began_at < self.duration_s

    def fraction(self, now: float) -> float:
        """Of the full share, at `now`."""
        if not self.ramping(now):
            return 1.0
        return self.floor + (1.0 - self.floor) * (now - self.began_at) / self.duration_s
