"""Timeouts of many connections at the price of two set operations each.

A loop timer per connection costs more than its pick, and every byte would have to re-arm it. Here
a connection lies in the slot of a coarse tick; when the tick comes it is asked whether it really
is due, and says until when it may stay. So traffic costs nothing, and a timeout is late by up to
one tick, never early (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 6
without the wrap-around).
"""

import logging
import math
from collections.abc import Callable

log = logging.getLogger(__name__)

Check = Callable[[float], float | None]
"""Takes now (seconds); gives the later deadline it turned out to have, or None: off the wheel."""


class Timer:
    """A place on the wheel."""

    __slots__ = ("check", "slot")

    def __init__(self, check: Check) -> None:
        """Not on a wheel yet."""
        self.check = check
        self.slot: set[Timer] | None = None

    def cancel(self) -> None:
        """Leave the wheel; without effect once left."""
        if self.slot is not None:
            self.slot.discard(self)
            self.slot = None


class TimerWheel:
    """Timers by tick. The caller reads the clock and calls `advance` about once a tick."""

    def __init__(self, tick_s: float, now: float) -> None:
        """Timers are due up to `tick_s` seconds late."""
        self.tick_s = tick_s
        self._slots: dict[int, set[Timer]] = {}
        self._tick = math.floor(now / tick_s)

    def __len__(self) -> int:
        """Timers on the wheel."""
        return sum(len(slot) for slot in self._slots.values())

    def add(self, deadline: float, check: Check) -> Timer:
        """Ask `check` when `deadline` (seconds on the clock of `advance`) has passed."""
        timer = Timer(check)
        self._place(timer, deadline)
        return timer

    def advance(self, now: float) -> None:
        """Ask everybody whose deadline has passed."""
        for tick in range(self._tick + 1, math.floor(now / self.tick_s) + 1):
            self._tick = tick
            for timer in tuple(self._slots.pop(tick, ())):
                self._ask(timer, now)

    def _ask(self, timer: Timer, now: float) -> None:
        if timer.slot is None:  # cancelled by one that was asked before it
            return
        timer.slot = None
        try:
            deadline = timer.check(now)
        except Exception:  # the others of this tick would never be asked
            log.exception("a fault of nginy in a timer")
            return
        if deadline is not None:
            self._place(timer, deadline)

    def _place(self, timer: Timer, deadline: float) -> None:
        tick = max(math.ceil(deadline / self.tick_s), self._tick + 1)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = set()
        slot.add(timer)
        timer.slot = slot
