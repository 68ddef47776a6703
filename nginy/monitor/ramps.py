"""Lets slow starts go on: a ramp is a matter of time, and somebody has to look at the clock."""

from nginy.backend.backend import Backend

STEP_S = 0.1
"""A share that changes more often would cost the algorithms more than it gives."""


class Ramps:
    """A Watcher of the backends with a slow start: it remembers those that are in one."""

    def __init__(self) -> None:
        """Nobody is."""
        self._ramping: dict[Backend, None] = {}
        """In the order in which they began: algorithms may decide ties by the order of events."""
        self._next_at = float("-inf")

    def watch(self, backend: Backend, now: float) -> None:
        """Take care of `backend`, which may be ramping already."""
        if backend.slow_start.duration_s > 0:
            backend.watchers.append(self)
            self.state_changed(backend, now)

    def tick(self, now: float) -> None:
        """Ramp those that are due, at most every STEP_S."""
        if not self._ramping or now < self._next_at:
            return
        self._next_at = now + STEP_S
        for backend in tuple(self._ramping):
            if not backend.ramp(now) or backend.removed:
                self._ramping.pop(backend, None)

    def state_changed(self, backend: Backend, now: float) -> None:
        """It may have come back."""
        if backend.slow_start.ramping(now) and not backend.removed:
            self._ramping[backend] = None

    def share_changed(self, backend: Backend, now: float) -> None:
        """Of no interest."""
