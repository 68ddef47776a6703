"""Work that is too long for one event: a step at a time, between the turns of what is ready."""

from collections import deque
from collections.abc import Iterator

from nginy.traffic.scheduler import RunSoon


class Background:
    """One work after the other, so that the second of two that are alike finds what the first made
    (rings that rules share), and however many there are, a turn is longer by one step alone."""

    def __init__(self, run_soon: RunSoon) -> None:
        """Steps run in turns of `run_soon`."""
        self._run_soon = run_soon
        self._works: deque[Iterator[None]] = deque()

    def add(self, work: Iterator[None]) -> None:
        """Do it step by step, when what was added before is done."""
        self._works.append(work)
        if len(self._works) == 1:
            self._run_soon(self._step)

    def _step(self, now: float) -> None:
        done = True  # one that raises is over, too
        try:
            for _ in self._works[0]:
                done = False
                break
        finally:
            if done:
                self._works.popleft()
            if self._works:
                self._run_soon(self._step)
