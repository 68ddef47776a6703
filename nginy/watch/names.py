"""A name's addresses, as answers come and fail."""

import asyncio
import logging
import time
from collections.abc import Callable
from ipaddress import ip_address

from nginy.config.guard_settings import DnsSettings
from nginy.config.schema import BackendSettings
from nginy.watch.resolver import DnsAnswer, NoAddress, NoAnswer, Resolver

log = logging.getLogger(__name__)

Change = Callable[[tuple[str, ...]], None]
"""Takes all addresses."""


class Resolution:
    """One name's addresses and when to ask again. Pure: time is handed in.

    What one address family does not answer does not take its old addresses away, nor does a failed
    question: a fault of the DNS must not take a service down that works. That the name has no
    address any more is believed when it was said for `hold_s`.
    """

    def __init__(self, min_ttl_s: float, max_ttl_s: float, hold_s: float) -> None:
        """Nothing is known, and to be asked at once."""
        self._min_ttl_s, self._max_ttl_s = min_ttl_s, max_ttl_s
        self._hold_s = hold_s
        self._gone_since: float | None = None
        self._by_family: dict[int, tuple[str, ...]] = {}
        self.due_at = float("-inf")
        """When to ask again, on the caller's clock."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """All addresses: IPv4 first, ascending, so that the order of answers moves no keys."""
        every = {host for hosts in self._by_family.values() for host in hosts}
        return tuple(sorted(every, key=_order))

    def answered(self, answers: dict[int, DnsAnswer | None], now: float) -> bool:
        """Take the answers by IP version; None: that question failed. Whether there was any.

        The shortest time to live counts; after a failure it is asked again as soon as allowed.
        """
        given = {version: answer for version, answer in answers.items() if answer is not None}
        useful = any(answer.hosts for answer in given.values())
        if useful:
            self._by_family |= {version: answer.hosts for version, answer in given.items()}
            self._gone_since = None
        complete = useful and len(given) == len(answers)
        ttls = [answer.ttl_s for answer in given.values() if answer.hosts]
        ttl_s = min(ttls) if complete else 0.0
        self.due_at = now + min(max(ttl_s, self._min_ttl_s), self._max_ttl_s)
        return useful

    def gone(self, now: float) -> None:
        """The answer is that the name has no address. The old ones go once that was the answer for
        `hold_s`, whatever questions failed in between."""
        if self._gone_since is None:
            self._gone_since = now
        if now - self._gone_since >= self._hold_s:
            self._by_family = {}
        self.due_at = now + self._min_ttl_s


def _order(host: str) -> tuple[int, int]:
    address = ip_address(host)
    return address.version, int(address)


class NameMonitor:
    """One name. Without an answer the old addresses stay; without an address, for a while."""

    def __init__(
        self, settings: BackendSettings, dns: DnsSettings, resolver: Resolver, change: Change
    ) -> None:
        """Nothing is asked yet."""
        self._id = settings.id
        self._name = settings.address.host
        self._resolver = resolver
        self._resolution = Resolution(dns.min_ttl_s, dns.max_ttl_s, dns.hold_s)
        self._change = change
        self.asked = asyncio.Event()
        """Set once there was an answer, or it is known that there is none."""
        self._troubled = False

    async def resolve(self) -> None:
        """Ask once, and tell what changed."""
        before = self._resolution.hosts
        try:
            answers = await self._resolver.ask(self._name)
        except NoAddress as error:
            self._resolution.gone(time.monotonic())
            self._complain(str(error))
        except NoAnswer as error:
            self._resolution.answered({}, time.monotonic())
            self._complain(str(error))
        else:
            self._resolution.answered(answers, time.monotonic())
            self._complain("")
        if self._resolution.hosts != before:
            self._tell()

    def _tell(self) -> None:
        hosts = self._resolution.hosts
        if hosts:
            log.info("backend %s: %s is %s", self._id, self._name, ", ".join(hosts))
        else:
            log.warning("backend %s: %s has no address any more", self._id, self._name)
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
