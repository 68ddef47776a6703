"""What the rules of traffic need of a clock's owner: the proxy's event loop, or a simulator."""

from collections.abc import Callable
from typing import Protocol

Check = Callable[[float], float | None]
"""Takes now (seconds); gives the later deadline it turned out to have, or None: it is over."""
RunSoon = Callable[[Callable[[float], None]], object]
"""Calls back, with the time, after the present event."""


class Timer(Protocol):
    """Something that will be due."""

    def cancel(self) -> None:
        """Be due no more; without effect if it is over."""


class Timers(Protocol):
    """Asks when a deadline has passed, up to `tick_s` late and never early."""

    tick_s: float
    resumed_at: float
    """When the process last went on after it had stood still: nobody was silent before that."""

    def add(self, deadline: float, check: Check) -> Timer:
        """Ask `check` when `deadline` (seconds, on the clock of `now` everywhere) has passed."""
