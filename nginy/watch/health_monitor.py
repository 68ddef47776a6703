"""Asks one backend's health check and its agent again and again, and does what follows."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nginy.address import Address
from nginy.backend.agent import AgentAnswer, IncompleteLine, parse_agent_answer
from nginy.backend.backend import Backend
from nginy.backend.health import CheckResult, Health, HealthState
from nginy.backend.wishes import Admin, Origin
from nginy.complaints import Complaints
from nginy.config.guard_settings import AgentCheckSettings, HealthCheckSettings
from nginy.errors import BackendError
from nginy.watch.check import (
    CheckImpossible,
    check_command,
    check_connect,
    check_tcp,
    check_udp,
    converse,
)

log = logging.getLogger(__name__)
complaints = Complaints(log)

LONGEST_LINE_BYTES = 1_024
"""Of an agent."""
SHOWN_CHARACTERS = 80
"""Of an agent's unknown words, in the log."""
AGENT_JITTER_PCT = 10.0

Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one backend is asked, in seconds: spread over time, so that backends neither start nor
    stay in step."""

    interval_s: float
    jitter_pct: float
    rng: random.Random

    def first_s(self) -> float:
        """From the start to the first check: anywhere in the first interval."""
        return self.interval_s * self.rng.random()

    def next_s(self) -> float:
        """From the beginning of a check to that of the next."""
        return self.interval_s * (1 + self.rng.random() * self.jitter_pct / 100)

    async def keep(self, ask: Callable[[], Awaitable[None]], places: asyncio.Semaphore) -> None:
        """Call `ask` until cancelled, never twice at once, and each time in one of `places`."""
        await asyncio.sleep(self.first_s())
        while True:
            due = time.monotonic() + self.next_s()
            async with places:
                now = time.monotonic()
                if now > due:
                    complaints.say("late", now, "checks come late: too many take their time")
                await ask()
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class HealthMonitor:
    """The checks of one backend. While it is taken down on purpose, it is not checked."""

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

    async def run(self, places: asyncio.Semaphore) -> None:
        """Check until cancelled, each time in one of `places`."""
        await self._schedule.keep(self.check_once, places)

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
        recovered = self._new or self._health.state is not HealthState.UNCHECKED
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
            log.warning(
                "backend %s: down after %d failed %s: %s", self._backend.id, row, checks, reason
            )


class AgentMonitor:
    """The agent of one backend. Its silence changes nothing."""

    def __init__(
        self, backend: Backend, health: Health, settings: AgentCheckSettings, rng: random.Random
    ) -> None:
        """Nothing is asked yet."""
        self._backend = backend
        self._health = health
        self._address = Address(backend.address.host, settings.port)
        self._settings = settings
        self._schedule = Schedule(settings.interval_s, AGENT_JITTER_PCT, rng)
        self._trouble = ""

    async def run(self, places: asyncio.Semaphore) -> None:
        """Ask until cancelled, each time in one of `places`."""
        await self._schedule.keep(self.ask_once, places)

    async def ask_once(self) -> None:
        """One question, and what follows from the answer."""
        try:
            answer = await ask_agent(self._address, self._settings.send, self._settings.timeout_s)
        except (BackendError, IncompleteLine, CheckImpossible) as error:
            self._complain("silent", f"no answer, what it said last stays: {error}")
        except Exception:
            log.exception("agent of backend %s", self._backend.id)
        else:
            unknown = " ".join(map(repr, answer.unknown))[:SHOWN_CHARACTERS]
            self._complain("unknown" if unknown else "", f"unknown words {unknown}")
            self._apply(answer, time.monotonic())

    def _apply(self, answer: AgentAnswer, now: float) -> None:
        """What was not said stays as it is."""
        backend, said = self._backend, self._backend.wishes[Origin.AGENT]
        if answer.admin not in (None, said.admin):
            log.info("backend %s: %s, says its agent", backend.id, answer.admin.value)
            backend.set_admin(answer.admin, now, Origin.AGENT)
        weight = answer.weight_of(backend.wishes[Origin.FILE].weight or 0)
        if weight not in (None, said.weight):
            log.debug("backend %s: weight %d, says its agent", backend.id, weight)
            backend.set_weight(weight, now, Origin.AGENT)
        if answer.max_connections is not None:
            backend.set_max_connections(answer.max_connections, now, Origin.AGENT)
        if answer.up is not None:
            self._take_health(answer.up, answer.reason, now)

    def _take_health(self, up: bool, reason: str, now: float) -> None:
        if up is not self._health.agent_up:
            self._health.agent_up = up
            word, why = ("up" if up else "down"), (f": {reason}" if reason else "")
            level = logging.INFO if up else logging.WARNING
            log.log(level, "backend %s: %s, says its agent%s", self._backend.id, word, why)
        self._backend.set_healthy(self._health.up, now)

    def _complain(self, trouble: str, message: str) -> None:
        """Once per kind of trouble; its end is worth a line, too. No trouble: empty."""
        if trouble == self._trouble:
            return
        if trouble:
            log.warning("agent of backend %s: %s", self._backend.id, message)
        else:
            log.info("agent of backend %s: answers again", self._backend.id)
        self._trouble = trouble


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
    if settings.send is None and settings.expect is None:
        return lambda: check_connect(address, settings.timeout_s)
    return lambda: check_tcp(address, settings.send, settings.expect, settings.timeout_s)


async def ask_agent(address: Address, send: bytes | None, timeout_s: float) -> AgentAnswer:
    """One question. Raises BackendError, IncompleteLine or CheckImpossible without an answer."""
    answer = await converse(address, send, _has_line_end, LONGEST_LINE_BYTES, timeout_s)
    return parse_agent_answer(answer)


def _has_line_end(answer: bytes) -> bool:
    return b"\n" in answer or b"\r" in answer
