"""All that watches the backends of one process, started and stopped together."""

import asyncio
import logging
import os
import random
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from socket import AF_UNSPEC
from typing import TYPE_CHECKING, Any

from nginy.backend.pool import BackendPool
from nginy.config.model import Config
from nginy.config.strategies import PrequalSettings
from nginy.errors import NginyError
from nginy.traffic.rule import RunningRule
from nginy.watch.load_listener import LoadListener
from nginy.watch.membership import Membership
from nginy.watch.prober import Prober
from nginy.watch.reports import Reports
from nginy.watch.watch import Watch

if TYPE_CHECKING:
    from nginy.watch.names import NameMonitor

log = logging.getLogger(__name__)


class ReportAddressError(NginyError):
    """Load reports cannot be listened for at `healthcheck_addr`."""


class Monitors:
    """Health checks, agents, name resolution, load reports and probes, as configured."""

    def __init__(
        self,
        config: Config,
        pool: BackendPool,
        rules: Sequence[RunningRule],
        rng: random.Random,
    ) -> None:
        """`rng` is of its own: checks come when they come. Nothing runs before `start`."""
        self._config = config
        self._pool = pool
        self._watch = Watch(rng)
        self._membership = Membership(pool, self._watch, rules, self._know_reporters)
        self._tasks: list[asyncio.Task[None]] = []
        self._reports = Reports([rule.balancer for rule in rules])
        self._listener = (
            LoadListener(config.report_address, self._reports.find, self._reports.deliver)
            if config.report_address
            else None
        )
        self._prober = Prober([(rule.balancer, _probe_port(rule)) for rule in rules], rng)
        for rule in rules:
            if rule.balancer.wants_probes:
                rule.after_pick = partial(self._prober.after_pick, rule.balancer)

    async def start(self, stopping: asyncio.Event) -> None:
        """Resolve names, then watch; to be awaited before anybody is served.

        Names get the time of one question: who is not resolved by then is served when it is. Once
        `stopping` is set nobody waits for them.
        Raises ReportAddressError if the address for load reports is taken.
        """
        await self._resolve_names(stopping)
        now = time.monotonic()
        for settings in self._config.backends:
            if settings.address.family is not AF_UNSPEC:
                self._watch.add(self._pool[settings.id], settings, now, new=False)
        self._know_reporters()
        self._prober.start()
        await self._listen()

    def tick(self, now: float) -> None:
        """What is due by time: ramps, probes. Called by the server every 50 ms."""
        self._watch.ramps.tick(now)
        self._prober.tick(now)

    async def close(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._membership.close()
        await self._watch.close()
        self._prober.close()
        if self._listener is not None:
            self._listener.close()

    async def _resolve_names(self, stopping: asyncio.Event) -> None:
        """Begin to; a name without an answer stands for nobody."""
        named = [each for each in self._config.backends if each.address.family is AF_UNSPEC]
        if not named:
            return
        # The DNS library takes 40 ms to load, and most have no names.
        from nginy.watch.names import NameMonitor
        from nginy.watch.resolver import Resolver

        resolver, dns = Resolver(self._config.dns), self._config.dns
        names = []
        for settings in named:
            change = partial(self._membership.change, settings)
            change(())
            names.append(NameMonitor(settings, dns, resolver, change))
        self._membership.settle(time.monotonic(), new=False)
        self._tasks = [asyncio.create_task(name.run()) for name in names]
        await _first_of(dns.timeout_s, _all_asked(names), stopping.wait())
        self._membership.settle(time.monotonic(), new=False)
        waiting = sum(not name.asked.is_set() for name in names)
        if waiting and not stopping.is_set():
            log.warning("%d of %d names not resolved yet: the start goes on", waiting, len(names))

    def _know_reporters(self) -> None:
        self._reports.know(self._pool.values())

    async def _listen(self) -> None:
        if self._listener is None:
            return
        if clash := self._config.report_clash:
            raise ReportAddressError(clash)
        try:
            await self._listener.start()
        except OSError as error:
            address = self._config.report_address
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ReportAddressError(
                f"cannot listen for load reports on {address} (healthcheck_addr): {reason}"
            ) from error
        log.info("load reports: %s", self._listener.address)


async def _all_asked(names: "Sequence[NameMonitor]") -> None:
    for name in names:
        await name.asked.wait()


async def _first_of(timeout_s: float, *waits: Coroutine[Any, Any, object]) -> None:
    """Wait for one of `waits`, but no longer than `timeout_s`; the others are given up."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _probe_port(rule: RunningRule) -> int | None:
    strategy = rule.settings.strategy
    return strategy.probe_port if isinstance(strategy, PrequalSettings) else None
