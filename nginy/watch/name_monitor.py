"""Resolves one name again and again, and says when its addresses have changed."""

import asyncio
import logging
import time
from collections.abc import Callable

from nginy.backend.resolution import Resolution
from nginy.config.guard_settings import DnsSettings
from nginy.config.schema import BackendSettings
from nginy.watch.resolver import NoAnswer, Resolver

log = logging.getLogger(__name__)

Change = Callable[[tuple[str, ...]], None]
"""Takes all addresses."""


class NameMonitor:
    """One name. Without an answer the old addresses stay."""

    def __init__(
        self, settings: BackendSettings, dns: DnsSettings, resolver: Resolver, change: Change
    ) -> None:
        """Nothing is asked yet."""
        self._id = settings.id
        self._name = settings.address.host
        self._resolver = resolver
        self._resolution = Resolution(dns.min_ttl_s, dns.max_ttl_s)
        self._change = change
        self.asked = asyncio.Event()
        """Set once there was an answer, or it is known that there is none."""
        self._troubled = False

    async def resolve(self) -> None:
        """Ask once, and tell what changed."""
        before = self._resolution.hosts
        try:
            answers = await self._resolver.ask(self._name)
        except NoAnswer as error:
            self._resolution.answered({}, time.monotonic())
            self._complain(str(error))
            return
        now = time.monotonic()
        self._resolution.answered(answers, now)
        self._complain("")
        hosts = self._resolution.hosts
        if hosts != before:
            log.info("backend %s: %s is %s", self._id, self._name, ", ".join(hosts))
            self._change(hosts)

    async def run(self) -> None:
        """Ask whenever it is due, until cancelled."""
        while True:
            await asyncio.sleep(max(0.0, self._resolution.due_at - time.monotonic()))
            try:
                await self.resolve()
            except Exception:
                log.exception("backend %s: %s not resolved", self._id, self._name)
            self.asked.set()

    def _complain(self, trouble: str) -> None:
        """Once, until it resolves again."""
        if trouble and not self._troubled:
            kept = ", ".join(self._resolution.hosts)
            meanwhile = f"kept: {kept}" if kept else "nobody is served by it until it resolves"
            log.warning("backend %s: %s: %s; %s", self._id, self._name, trouble, meanwhile)
        elif self._troubled and not trouble:
            log.info("backend %s: %s resolves again", self._id, self._name)
        self._troubled = bool(trouble)
