"""A first-come first-served queue with c servers, in virtual time. Pure: no clock, no sleeping."""

import heapq
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """When an admitted job is served, in the seconds of the clock that `admit` was given."""

    start_s: float
    finish_s: float


@dataclass(frozen=True, slots=True)
class FifoState:
    """What a FifoServer has done and is doing at one instant."""

    arrived: int
    completed: int
    rejected: int
    busy: int
    """Jobs in service now."""
    queue_length: int
    """Jobs waiting now (those in service not counted)."""
    busy_time_s: float
    """Service given so far, summed over the servers."""


class FifoServer:
    """The G/G/c queue by the Kiefer-Wolfowitz recursion (Lindley's for c = 1).

    A job's service starts when the queue says so and not when somebody wakes up to see it, so the
    lateness of real timers never accumulates from job to job.
    """

    def __init__(self, servers: int, speed: float, queue_limit: int) -> None:
        """`speed` divides every demand; at most `queue_limit` jobs wait (0: none may wait)."""
        if servers < 1 or speed <= 0 or queue_limit < 0:
            raise ValueError(f"no such server: {servers=} {speed=} {queue_limit=}")
        self._speed = speed
        self._queue_limit = queue_limit
        self._free_at_s = [float("-inf")] * servers
        self._starts_s: deque[float] = deque()
        self._unfinished: list[tuple[float, float]] = []  # heap of (finish_s, service_s)
        self._now_s = float("-inf")
        self._arrived = self._completed = self._rejected = 0
        self._admitted_service_s = 0.0

    def admit(self, now_s: float, demand_s: float) -> Service | None:
        """Take a job that arrives now, or None if the queue is full.

        Raises ValueError if time runs backwards or the demand is negative.
        """
        if demand_s < 0:
            raise ValueError(f"negative demand: {demand_s} s")
        self._advance(now_s)
        self._arrived += 1
        start_s = max(now_s, self._free_at_s[0])
        if start_s > now_s and len(self._starts_s) >= self._queue_limit:
            self._rejected += 1
            return None
        service_s = demand_s / self._speed
        finish_s = start_s + service_s
        heapq.heapreplace(self._free_at_s, finish_s)
        heapq.heappush(self._unfinished, (finish_s, service_s))
        # First come, first served: starts never decrease, so the waiting ones are a plain queue.
        self._starts_s.append(start_s)
        self._admitted_service_s += service_s
        return Service(start_s, finish_s)

    def state(self, now_s: float) -> FifoState:
        """Counters at `now_s`; a job that finishes at this very instant counts as completed."""
        self._advance(now_s)
        waiting = len(self._starts_s)
        remaining_s = sum(min(service, finish - now_s) for finish, service in self._unfinished)
        return FifoState(
            arrived=self._arrived,
            completed=self._completed,
            rejected=self._rejected,
            busy=len(self._unfinished) - waiting,
            queue_length=waiting,
            busy_time_s=max(0.0, self._admitted_service_s - remaining_s),
        )

    def _advance(self, now_s: float) -> None:
        if now_s < self._now_s:
            raise ValueError(f"time runs backwards: {now_s} after {self._now_s}")
        self._now_s = now_s
        while self._starts_s and self._starts_s[0] <= now_s:
            self._starts_s.popleft()
        while self._unfinished and self._unfinished[0][0] <= now_s:
            heapq.heappop(self._unfinished)
            self._completed += 1
