"""Virtual time: what is to happen when. It has the two methods that emulated backends need of an
event loop, so the same backends serve in both arms."""

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any


class Event:
    """One call that is due."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        """Not yet done."""
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """It will not happen; without effect if it has."""
        self._call = None

    def happen(self) -> None:
        """Once."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Events:
    """In order of time; what is due at one moment, in the order in which it was asked for."""

    def __init__(self) -> None:
        """At 0 s; nothing is due."""
        self._now_s = 0.0
        self._heap: list[tuple[float, int, Event]] = []
        self._numbers = count()

    def time(self) -> float:
        """Now, seconds."""
        return self._now_s

    def call_at(self, when_s: float, call: Callable[..., object], *args: Any) -> Event:
        """Have it called; what lies in the past is due now."""
        event = Event((lambda: call(*args)) if args else call)
        heapq.heappush(self._heap, (max(when_s, self._now_s), next(self._numbers), event))
        return event

    def run(self, on_time: Callable[[float], object] | None = None, every: int = 4096) -> None:
        """Until nothing is due. `on_time` is told the time after every so many events."""
        heap, done = self._heap, 0
        while heap:
            self._now_s, _, event = heapq.heappop(heap)
            event.happen()
            done += 1
            if on_time is not None and not done % every:
                on_time(self._now_s)
