"""Asks one backend's agent again and again, and does with the backend what it says."""

import asyncio
import logging
import random
import re
import time

from nginy.address import Address
from nginy.backend.agent import AgentAnswer, IncompleteLine, parse_answer
from nginy.backend.backend import Backend
from nginy.backend.health import Health
from nginy.backend.wishes import Origin
from nginy.config.guard_settings import AgentCheckSettings
from nginy.errors import BackendError
from nginy.watch.check import CheckImpossible, connected, read_until, within
from nginy.watch.schedule import Schedule

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 1_024
SHOWN_CHARACTERS = 80
"""Of unknown words, in the log."""
JITTER_PCT = 10.0
_LINE_END = re.compile(rb"[\r\n]")


async def ask_agent(address: Address, send: bytes | None, timeout_s: float) -> AgentAnswer:
    """One question. Raises BackendError, IncompleteLine or CheckImpossible without an answer."""
    async with within(timeout_s), connected(address) as sock:
        if send is not None:
            await asyncio.get_running_loop().sock_sendall(sock, send)
        return parse_answer(await read_until(sock, _LINE_END, LONGEST_LINE_BYTES))


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
        self._schedule = Schedule(settings.interval_s, JITTER_PCT, rng)
        self._trouble = ""

    async def run(self) -> None:
        """Ask until cancelled."""
        await asyncio.sleep(self._schedule.first_s())
        while True:
            due = time.monotonic() + self._schedule.next_s()
            await self.ask_once()
            await asyncio.sleep(max(0.0, due - time.monotonic()))

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
            log.info("backend %s: %s, says its agent%s", self._backend.id, word, why)
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
