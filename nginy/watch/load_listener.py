"""Listens for load reports: backends connect over TCP and write one JSON object per line.

One protocol object per connection, driven by the event loop: who is silent, slow or talks nonsense
delays nobody else.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from socket import AF_UNIX
from typing import Any, cast

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import InvalidReport, LoadReport, canonical_host, parse_report
from nginy.balancer.base import Balancer
from nginy.complaints import Complaints

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 4_096
MOST_CONNECTIONS = 4_096
MOST_PER_BACKEND = 8
"""Of one host, per backend that it has: beyond, the one silent longest is closed, so that a host
that connects again and again without closing locks out neither the others nor itself."""
SILENCE_S = 300.0
"""A connection without a byte for this long is closed: its peer may have vanished without a word.
A reporter that is alive connects again."""
SWEEP_S = 30.0
"""How often that is looked at."""

Find = Callable[[str, str | None], Sequence[Backend]]
"""The backends that a report is about: those at a source address, or, of these, the one with the
id that the line names."""
Deliver = Callable[[Backend, LoadReport, float], None]
"""Takes a report that came at a time, in seconds on the monotonic clock."""


class LoadListener:
    """A TCP listener for any number of reporters at once, up to MOST_CONNECTIONS."""

    def __init__(self, address: Address, find: Find, deliver: Deliver) -> None:
        """Nothing is listened to before `start`. Port 0: any free one."""
        self._wanted = address
        self._find = find
        self._deliver = deliver
        self._complaints = Complaints(log)
        self._server: asyncio.Server | None = None
        self._reporters: set[_Reporter] = set()
        self._at_host: dict[str, set[_Reporter]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the address is taken or not this host's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Reporter(self), self._wanted.host, self._wanted.port
        )
        self._sweep = loop.call_later(SWEEP_S, self._close_silent)

    @property
    def address(self) -> Address:
        """Where it listens; to be asked after `start`."""
        if self._server is None:
            raise RuntimeError("not started")
        host, port, *_ = self._server.sockets[0].getsockname()
        return Address(host, port)

    async def close(self) -> None:
        """Stop listening, and close every reporter's connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        for reporter in tuple(self._reporters):
            reporter.drop()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def enter(self, reporter: "_Reporter") -> bool:
        """A connection came; whether it may stay."""
        now = time.monotonic()
        backends = self._find(reporter.host, None)
        if not backends:
            self._complaints.say(
                "stranger", now, "load reports: no backend has the address %s", reporter.host
            )
            return False
        if len(self._reporters) >= MOST_CONNECTIONS:
            self._complaints.say(
                "full", now, "load reports: more than %d connections", MOST_CONNECTIONS
            )
            return False
        own = self._at_host.setdefault(reporter.host, set())
        if len(own) >= MOST_PER_BACKEND * len(backends):
            min(own, key=lambda each: each.heard_at).drop()
        own.add(reporter)
        self._reporters.add(reporter)
        return True

    def leave(self, reporter: "_Reporter") -> None:
        """A connection is closed."""
        self._reporters.discard(reporter)
        own = self._at_host.get(reporter.host, set())
        own.discard(reporter)
        if not own:
            self._at_host.pop(reporter.host, None)

    def line(self, host: str, line: bytes) -> None:
        """A line came from `host`."""
        now = time.monotonic()
        try:
            backend_id, report = parse_report(line)
        except InvalidReport as error:
            self._complaints.say(f"invalid {host}", now, "load report from %s: %s", host, error)
            return
        backends = self._find(host, backend_id)
        if not backends:
            self._complaints.say(
                f"unknown {host}", now, "load report from %s: no backend %r", host, backend_id
            )
        for backend in backends:
            self._deliver(backend, report, now)

    def too_long(self, host: str) -> None:
        """A line from `host` does not end."""
        self._complaints.say(
            f"long {host}",
            time.monotonic(),
            "load report from %s: a line of more than %d bytes",
            host,
            LONGEST_LINE_BYTES,
        )

    def _close_silent(self) -> None:
        loop = asyncio.get_running_loop()
        for reporter in tuple(self._reporters):
            if loop.time() - reporter.heard_at > SILENCE_S:
                reporter.drop()
        self._sweep = loop.call_later(SWEEP_S, self._close_silent)


class Reports:
    """Backends by address, so that a report costs the same however many there are."""

    def __init__(self, balancers: Sequence[Balancer[Any]]) -> None:
        """Every report is told to all `balancers`; who does not know the backend ignores it."""
        self._balancers = balancers
        self._named: Mapping[tuple[str, str | None], list[Backend]] = {}
        """By host and id; with the id None, all of the host."""

    def know(self, backends: Iterable[Backend]) -> None:
        """These are the backends now."""
        named: defaultdict[tuple[str, str | None], list[Backend]] = defaultdict(list)
        for backend in backends:
            if backend.address.family is AF_UNIX:
                continue
            host = canonical_host(backend.address.host)
            for name in {None, backend.id, backend.id.partition("@")[0]}:
                named[host, name].append(backend)
        self._named = dict(named)

    def find(self, host: str, backend_id: str | None) -> list[Backend]:
        """Whom a report from `host` is about: all backends there, or the one there with this id.

        One of the backends behind a name (`web@10.0.0.1`) may call itself by the configured id,
        `web`.
        """
        return self._named.get((host, backend_id), [])

    def deliver(self, backend: Backend, report: LoadReport, now: float) -> None:
        """Tell the algorithms."""
        for balancer in self._balancers:
            balancer.reported(backend, report, now)


class _Reporter(asyncio.Protocol):
    """One connection."""

    def __init__(self, listener: LoadListener) -> None:
        self._listener = listener
        self._unfinished = b""
        self._transport: asyncio.Transport | None = None
        self.host = ""
        self.heard_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet nobody who is not a backend."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.host = canonical_host(peer[0]) if peer else "a peer that has gone"
        self.heard_at = asyncio.get_running_loop().time()
        if not self._listener.enter(self):
            self.drop()

    def data_received(self, data: bytes) -> None:
        """Hand over whole lines."""
        self.heard_at = asyncio.get_running_loop().time()
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            if len(line) > LONGEST_LINE_BYTES:
                self._too_long()
                return
            if line.strip():
                self._listener.line(self.host, line)
        if len(self._unfinished) > LONGEST_LINE_BYTES:
            self._too_long()

    def connection_lost(self, exc: Exception | None) -> None:
        """The backend hung up."""
        self._listener.leave(self)

    def drop(self) -> None:
        """Close the connection now."""
        self._listener.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _too_long(self) -> None:
        self._listener.too_long(self.host)
        self._unfinished = b""
        self.drop()
