"""Timeouts of many connections at the price of two list operations each.

A loop timer per connection costs more than its pick, and every byte would have to re-arm it. Here
a connection lies in the slot of a coarse tick; when the tick comes it is asked whether it really
is due, and says until when it may stay. So traffic costs nothing, and a timeout is late by up to
one tick, never early (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987, scheme 6
without the wrap-around).

What is added is put into its slot at the next tick only: most connections and all attempts to
connect are over by then, and never see a slot.
"""

import itertools
import logging
import math

from nginy.traffic.scheduler import Check

log = logging.getLogger(__name__)


class Timer:
    """A place on the wheel."""

    __slots__ = ("check", "deadline", "slot")

    def __init__(self, check: Check, deadline: float) -> None:
        """In no slot yet."""
        self.check: Check | None = check
        """None: it is over."""
        self.deadline = deadline
        self.slot: set[Timer] | None = None

    def cancel(self) -> None:
        """Leave the wheel; without effect once left."""
        self.check = None
        if self.slot is not None:
            self.slot.discard(self)
            self.slot = None


class TimerWheel:
    """Timers by tick. The caller reads the clock and calls `advance` about once a tick."""

    def __init__(self, tick_s: float, now: float) -> None:
        """Timers are due up to `tick_s` seconds late."""
        self.tick_s = tick_s
        self._slots: dict[int, set[Timer]] = {}
        self._new: list[Timer] = []
        """Since the last tick; some are over."""
        self._tick = int(now / tick_s)
        self.resumed_at = -math.inf

    def __len__(self) -> int:
        """Timers on the wheel."""
        new = sum(timer.check is not None for timer in self._new)
        return new + sum(len(slot) for slot in self._slots.values())

    def add(self, deadline: float, check: Check) -> Timer:
        """Ask `check` when `deadline` (seconds on the clock of `advance`) has passed."""
        timer = Timer(check, deadline)
        self._new.append(timer)
        return timer

    def advance(self, now: float) -> None:
        """Ask everybody whose deadline has passed."""
        self._place_new()
        for tick in range(self._tick + 1, int(now / self.tick_s) + 1):
            self._tick = tick
            for timer in tuple(self._slots.pop(tick, ())):
                self._ask(timer, now)
            self._place_new()

    def postpone(self, by_s: float, now: float) -> None:
        """Let nothing that is on the wheel now be due before `by_s` more have passed (to the
        tick): time in which the process stood still, until `now`, so that nobody could do what a
        timer waits for."""
        self.resumed_at = now
        ticks = int(by_s / self.tick_s)
        self._tick += ticks
        self._slots = {tick + ticks: slot for tick, slot in self._slots.items()}
        for timer in (*self._new, *itertools.chain.from_iterable(self._slots.values())):
            timer.deadline += ticks * self.tick_s

    def _ask(self, timer: Timer, now: float) -> None:
        if timer.check is None:  # cancelled by one that was asked before it
            return
        timer.slot = None
        try:
            deadline = timer.check(now)
        except Exception:  # the others of this tick would never be asked
            log.exception("a fault of nginy in a timer")
            deadline = None
        if timer.check is None:  # cancelled by itself
            return
        if deadline is None:
            timer.check = None
        else:
            timer.deadline = deadline
            self._new.append(timer)

    def _place_new(self) -> None:
        new, self._new = self._new, []
        for timer in new:
            if timer.check is not None:
                # The first tick after the deadline that is still to come.
                tick = max(-int(-timer.deadline // self.tick_s), self._tick + 1)
                slot = timer.slot = self._slots.setdefault(tick, set())
                slot.add(timer)
