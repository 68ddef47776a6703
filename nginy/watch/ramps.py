"""Lets slow starts go on: a ramp is a matter of time, and somebody has to look at the clock."""

from collections import deque

from nginy.backend.backend import Backend

STEP_S = 0.1
"""A share that changes more often would cost the algorithms more than it gives."""
MOST_AT_ONCE = 500
"""Per tick, about 2 ms: 10 000 that come back together would stall everybody for 0.1 s."""


class Ramps:
    """A Watcher of the backends with a slow start: it remembers those that are in one."""

    def __init__(self) -> None:
        """Nobody is."""
        self._ramping: dict[Backend, None] = {}
        """In the order in which they began: algorithms may decide ties by the order of events."""
        self._turn: deque[Backend] = deque()
        """Of them, those still to be ramped in the present step."""
        self._next_at = float("-inf")

    def watch(self, backend: Backend, now: float) -> None:
        """Take care of `backend`, which may be ramping already."""
        if backend.slow_start.duration_s > 0:
            backend.watchers.append(self)
            self.state_changed(backend, now)

    def tick(self, now: float) -> None:
        """Ramp those that are due, each at most every STEP_S, MOST_AT_ONCE of them."""
        if not self._turn:
            if not self._ramping or now < self._next_at:
                return
            self._next_at = now + STEP_S
            self._turn.extend(self._ramping)
        for _ in range(min(MOST_AT_ONCE, len(self._turn))):
            backend = self._turn.popleft()
            if not backend.ramp(now) or backend.removed:
                self._ramping.pop(backend, None)

    def state_changed(self, backend: Backend, now: float) -> None:
        """It may have come back."""
        if backend.slow_start.ramping(now) and not backend.removed:
            self._ramping[backend] = None

    def share_changed(self, backend: Backend, now: float) -> None:
        """Of no interest."""
