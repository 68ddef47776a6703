"""Who watches a backend: its checks and its agent, its slow start, its penalties."""

import asyncio
import logging
import random
import resource
from collections import deque
from collections.abc import Coroutine

from nginy.backend.backend import Backend
from nginy.backend.health import make_health
from nginy.backend.penalty import NEVER
from nginy.config.schema import BackendSettings
from nginy.watch.health_monitor import AgentMonitor, HealthMonitor

log = logging.getLogger(__name__)

MOST_CHECKS = 1_000
"""Under way at once, with the questions to agents. With the default interval and timeout 2 000
silent backends are still checked in time; with more, checks come late."""
SHARE_OF_DESCRIPTORS = 8
"""Checks have at most one in this many of those that the process may have."""
RAMP_STEP_S = 0.1
"""A share that changes more often would cost the algorithms more than it gives."""
RAMPS_AT_ONCE = 500
"""Per tick, about 2 ms: 10 000 that come back together would stall everybody for 0.1 s."""


class Watch:
    """Watches backends from `add` until `remove` or `close`.

    A backend that the configuration has down stays down: it has neither checks nor an agent.
    """

    def __init__(self, rng: random.Random) -> None:
        """Nobody is watched."""
        self._rng = rng
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._places = asyncio.Semaphore(min(MOST_CHECKS, descriptors // SHARE_OF_DESCRIPTORS))
        self._tasks: dict[Backend, list[asyncio.Task[None]]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._penalties = PenaltyLog()
        self.ramps = Ramps()

    def add(self, backend: Backend, settings: BackendSettings, now: float, *, new: bool) -> None:
        """Watch `backend`. `new`: it came at run time, so it starts slowly."""
        self._penalties.watch(backend)
        self.ramps.watch(backend, now)
        if new:
            backend.warm_up(now)
            self.ramps.state_changed(backend, now)
        if not settings.down:
            self._tasks[backend] = [
                asyncio.create_task(each) for each in self._monitors(backend, settings, new)
            ]

    def remove(self, backend: Backend) -> None:
        """Watch it no more."""
        for task in self._tasks.pop(backend, ()):
            task.cancel()
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)

    async def close(self) -> None:
        """Watch nobody; returns when every task and every command it ran has ended."""
        for backend in tuple(self._tasks):
            self.remove(backend)
        await asyncio.gather(*self._cancelled, return_exceptions=True)

    def _monitors(
        self, backend: Backend, settings: BackendSettings, new: bool
    ) -> list[Coroutine[None, None, None]]:
        health = make_health(settings)
        monitors = []
        if settings.health_check is not None:
            check = settings.health_check
            monitors.append(
                HealthMonitor(backend, health, check, self._rng, new=new).run(self._places)
            )
        if settings.agent_check is not None:
            monitors.append(
                AgentMonitor(backend, health, settings.agent_check, self._rng).run(self._places)
            )
        return monitors


class Ramps:
    """Lets slow starts go on: a ramp is a matter of time, and somebody has to look at the clock.

    A Watcher of the backends with a slow start: it remembers those that are in one.
    """

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
        """Ramp those that are due, each at most every RAMP_STEP_S, RAMPS_AT_ONCE of them."""
        if not self._turn:
            if not self._ramping or now < self._next_at:
                return
            self._next_at = now + RAMP_STEP_S
            self._turn.extend(self._ramping)
        for _ in range(min(RAMPS_AT_ONCE, len(self._turn))):
            backend = self._turn.popleft()
            if not backend.ramp(now) or backend.removed:
                self._ramping.pop(backend, None)

    def state_changed(self, backend: Backend, now: float) -> None:
        """It may have come back."""
        if backend.slow_start.ramping(now) and not backend.removed:
            self._ramping[backend] = None

    def share_changed(self, backend: Backend, now: float) -> None:
        """Of no interest."""


class PenaltyLog:
    """Says when a backend is left alone because live traffic failed, and when it is back.

    A Watcher of the backends with `max_fails`: one line per penalty, one at the end.
    """

    def __init__(self) -> None:
        """Nobody is left alone."""
        self._row: dict[Backend, int] = {}
        """Of those that are: how many penalties in a row were told."""

    def watch(self, backend: Backend) -> None:
        """Take care of `backend`."""
        if backend.penalty.max_fails > 0:
            backend.watchers.append(self)

    def state_changed(self, backend: Backend, now: float) -> None:
        """Tell if a penalty began or the last one is over."""
        penalty = backend.penalty
        if backend.removed:
            self._row.pop(backend, None)
        elif penalty.ends_at == NEVER:
            if self._row.pop(backend, 0):
                log.info("backend %s: answers again after its penalty", backend.id)
        elif self._row.get(backend) != penalty.row:
            self._row[backend] = penalty.row
            log.warning(
                "backend %s: left alone for %g s after %d failed attempts",
                backend.id,
                penalty.timeout_s,
                penalty.fails,
            )

    def share_changed(self, backend: Backend, now: float) -> None:
        """Of no interest."""
