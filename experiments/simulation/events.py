"""Virtual time: what is to happen when. It has the two methods that emulated backends need of an
event loop, so the same backends serve in both arms."""

import gc
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

_LOOK_AFTER = 100_000
"""New objects, before garbage among them is looked for."""


class Event(list[Any]):
    """One call that is due: time, number, call, its arguments. A list, since the heap compares
    lists without asking Python code, and that is most of what the loop does."""

    __slots__ = ()

    def cancel(self) -> None:
        """It will not happen; without effect if it has."""
        self[2] = None


class Events:
    """In order of time; what is due at one moment, in the order in which it was asked for."""

    def __init__(self) -> None:
        """At 0 s; nothing is due."""
        self._now_s = 0.0
        self._heap: list[Event] = []
        self._numbers = count()

    def time(self) -> float:
        """Now, seconds."""
        return self._now_s

    def call_at(self, when_s: float, call: Callable[..., object], *args: Any) -> Event:
        """Have it called; what lies in the past is due now."""
        if when_s < self._now_s:
            when_s = self._now_s
        event = Event((when_s, next(self._numbers), call, args))
        heapq.heappush(self._heap, event)
        return event

    def run(self, on_time: Callable[[float], object] | None = None, every: int = 4096) -> None:
        """Until nothing is due. `on_time` is told the time after every so many events."""
        heap, pop, done = self._heap, heapq.heappop, 0
        # Looking for garbage after every 700 objects took a quarter of the time; connections and
        # their attempts know each other, so it has to be looked for now and then.
        before = gc.get_threshold()
        gc.set_threshold(_LOOK_AFTER, *before[1:])
        try:
            while heap:
                event = pop(heap)
                self._now_s, _, call, args = event
                if call is not None:
                    event[2] = None
                    call(*args)
                done += 1
                if on_time is not None and not done % every:
                    on_time(self._now_s)
        finally:
            gc.set_threshold(*before)
