"""Checks one backend again and again, one check at a time, and tells it the verdict."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.health import CheckResult, Health, State
from nginy.backend.wishes import Admin
from nginy.complaints import Complaints
from nginy.config.guard_settings import HealthCheckSettings
from nginy.errors import BackendError
from nginy.watch.check import CheckImpossible
from nginy.watch.check_command import check_command
from nginy.watch.check_tcp import check_tcp
from nginy.watch.check_udp import check_udp
from nginy.watch.schedule import Schedule

log = logging.getLogger(__name__)
complaints = Complaints(log)

Check = Callable[[], Awaitable[None]]


def make_check(backend: Backend, settings: HealthCheckSettings) -> Check:
    """The check that `settings` describe."""
    address = backend.address
    if settings.port is not None:
        address = Address(address.host, settings.port)
    if settings.type == "command":
        return lambda: check_command(settings.command, backend.id, address, settings.timeout_s)
    if settings.type == "udp":
        send = settings.send or b""
        return lambda: check_udp(address, send, settings.expect, settings.timeout_s)
    return lambda: check_tcp(address, settings.send, settings.expect, settings.timeout_s)


class HealthMonitor:
    """The checks of one backend. While the operator has it down, it is not checked."""

    def __init__(
        self,
        backend: Backend,
        health: Health,
        settings: HealthCheckSettings,
        rng: random.Random,
        *,
        new: bool,
    ) -> None:
        """`new`: it came at run time, so that its first passed check starts it slowly."""
        self._backend = backend
        self._health = health
        self._check = make_check(backend, settings)
        self._schedule = Schedule(settings.interval_s, settings.jitter_pct, rng)
        self._new = new

    async def run(self) -> None:
        """Check until cancelled."""
        await asyncio.sleep(self._schedule.first_s())
        while True:
            due = time.monotonic() + self._schedule.next_s()
            await self.check_once()
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def check_once(self) -> None:
        """One check, and what follows from it."""
        if self._backend.admin is Admin.DOWN:
            self._health.suspend()
            return
        self._health.resume()
        began_at = time.monotonic()
        try:
            passed, words = await self._ask()
        except Exception:
            log.exception("backend %s not checked", self._backend.id)
            return
        now = time.monotonic()
        self._backend.last_check = CheckResult(now, now - began_at, passed, words)
        if passed is None:
            complaints.say("impossible", now, "backend %s not checked: %s", self._backend.id, words)
        else:
            self._take(passed, words, now)

    async def _ask(self) -> tuple[bool | None, str]:
        """Whether the check passed (None: it could not be made), and if not, why."""
        try:
            await self._check()
        except BackendError as error:
            return False, str(error)
        except CheckImpossible as error:
            return None, str(error)
        return True, ""

    def _take(self, passed: bool, reason: str, now: float) -> None:
        if self._backend.admin is Admin.DOWN:
            return  # it was taken down while it was checked
        recovered = self._new or self._health.state is not State.UNCHECKED
        self._health.checked(passed)
        if self._health.up is not self._backend.healthy:
            self._log(reason)
        self._backend.set_healthy(self._health.up, now, recovered=recovered)

    def _log(self, reason: str) -> None:
        row = self._health.row
        checks = "check" if row == 1 else "checks"
        if self._health.up:
            log.info("backend %s: up after %d passed %s", self._backend.id, row, checks)
        else:
            log.info(
                "backend %s: down after %d failed %s: %s", self._backend.id, row, checks, reason
            )
