"""Asks the DNS for the addresses of a name: A and AAAA, with their time to live."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from nginy.address import Address
from nginy.config.guard_settings import DnsSettings

QUESTIONS_AT_ONCE = 64
"""Each needs a descriptor; thousands of names ask one after the other."""
RECORDS = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}


PAUSES_S = (0.1, 0.4)
"""Before a question is asked again that every nameserver refused: one that is just starting does. A
question without an answer is asked again by dnspython, within its time."""
LONGEST_CHAIN = 8
"""Of names that stand for each other."""


class NoAnswer(Exception):
    """A name could not be resolved; the message says why."""


class NoAddress(NoAnswer):
    """That is the answer: the name has no address, or there is no such name."""


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What was said of one address family: its addresses, and for how many seconds."""

    hosts: tuple[str, ...]
    ttl_s: float


class Resolver:
    """The configured nameservers; or, where none is, all that the system asks."""

    def __init__(self, settings: DnsSettings) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._resolver = _resolver(settings.nameservers)
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def ask(self, name: str) -> dict[int, DnsAnswer | None]:
        """Answers by IP version; None: that question failed. Raises NoAnswer if both say nothing,
        NoAddress if that is what they say.

        A name that the system's nameservers do not know is looked up as programs do, which finds
        those in /etc/hosts; they have no time to live.
        """
        failures: dict[int, str] = {}
        async with self._places:
            answers = dict(
                zip(
                    RECORDS,
                    await asyncio.gather(*(self._ask(name, v, failures) for v in RECORDS)),
                    strict=True,
                )
            )
        if any(answer and answer.hosts for answer in answers.values()):
            return answers
        certain = None not in answers.values()
        if not self._settings.nameservers:
            found = await self._look_up(name)
            if found:
                return by_version(found, self._settings.max_ttl_s)
            certain &= found is not None
        reason = failures.get(4) or failures.get(6) or "the name has no address"
        raise NoAddress(reason) if certain else NoAnswer(reason)

    async def _ask(self, name: str, version: int, failures: dict[int, str]) -> DnsAnswer | None:
        if self._resolver is None:
            failures[version] = "the system has no nameserver"
            return None
        try:
            return await self._follow(self._resolver, name, RECORDS[version])
        except dns.resolver.NXDOMAIN:
            failures[version] = "there is no such name"
            return DnsAnswer((), 0.0)
        except dns.resolver.LifetimeTimeout:
            failures[version] = f"no answer within {self._settings.timeout_s:g} s"
            return None
        except (dns.exception.DNSException, OSError, NoAnswer) as error:
            failures[version] = str(error) or type(error).__name__
            return None

    async def _follow(
        self, resolver: dns.asyncresolver.Resolver, name: str, record: dns.rdatatype.RdataType
    ) -> DnsAnswer:
        """Ask for the name that `name` stands for as well, where a nameserver says only that much.

        Raises as dnspython does, or NoAnswer; all within the time of one question.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        asked: str | dns.name.Name = name
        ttl_s = float("inf")
        for _ in range(LONGEST_CHAIN):
            answer = await self._patiently(resolver, asked, record, deadline)
            ttl_s = min(ttl_s, float(answer.chaining_result.minimum_ttl))
            if answer.rrset or answer.canonical_name == answer.qname:
                records = answer.rrset or ()
                return DnsAnswer(tuple(ip_address(r.address).compressed for r in records), ttl_s)
            asked = answer.canonical_name
        raise NoAnswer(f"more than {LONGEST_CHAIN} names stand for each other")

    @staticmethod
    async def _patiently(
        resolver: dns.asyncresolver.Resolver,
        name: str | dns.name.Name,
        record: dns.rdatatype.RdataType,
        deadline: float,
    ) -> dns.resolver.Answer:
        """Ask, and again after a refusal."""
        loop = asyncio.get_running_loop()
        pauses_s = iter(PAUSES_S)
        while True:
            lifetime_s = max(0.001, deadline - loop.time())
            try:
                return await resolver.resolve(
                    name, record, raise_on_no_answer=False, lifetime=lifetime_s
                )
            except dns.resolver.NoNameservers:
                pause_s = next(pauses_s, None)
                if pause_s is None or loop.time() + pause_s >= deadline:
                    raise
            await asyncio.sleep(pause_s)

    async def _look_up(self, name: str) -> list[str] | None:
        """As getaddrinfo says, in a thread; None: it could not tell."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except UnicodeError:
            return []
        except socket.gaierror as error:
            return [] if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else None
        except OSError:
            return None
        return [str(sockaddr[0]) for *_, sockaddr in found]


def by_version(hosts: Iterable[str], ttl_s: float) -> dict[int, DnsAnswer | None]:
    """Answers for both IP versions from one list of addresses."""
    unique = tuple(dict.fromkeys(hosts))
    return {
        version: DnsAnswer(tuple(h for h in unique if ip_address(h).version == version), ttl_s)
        for version in (4, 6)
    }


def _resolver(nameservers: Sequence[Address]) -> dns.asyncresolver.Resolver | None:
    """None: the system has no nameservers configured."""
    try:
        resolver = dns.asyncresolver.Resolver(configure=not nameservers)
    except dns.resolver.NoResolverConfiguration:
        return None
    if nameservers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(server.host, server.port) for server in nameservers
        ]
    else:
        resolver.use_search_by_default = True
    return resolver
