"""The tasks that watch backends: each backend's checks and its agent."""

import asyncio
import random
from collections.abc import Coroutine

from nginy.backend.backend import Backend
from nginy.backend.make import make_health
from nginy.config.schema import BackendSettings
from nginy.watch.agent_monitor import AgentMonitor
from nginy.watch.health_monitor import HealthMonitor
from nginy.watch.penalty_log import PenaltyLog
from nginy.watch.ramps import Ramps


class Watch:
    """Watches backends from `add` until `remove` or `close`.

    A backend that the configuration has down stays down: it has neither checks nor an agent.
    """

    def __init__(self, rng: random.Random) -> None:
        """Nobody is watched."""
        self._rng = rng
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
            monitors.append(HealthMonitor(backend, health, check, self._rng, new=new).run())
        if settings.agent_check is not None:
            monitors.append(AgentMonitor(backend, health, settings.agent_check, self._rng).run())
        return monitors
