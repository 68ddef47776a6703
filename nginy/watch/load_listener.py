"""Listens for load reports: backends connect over TCP and write one JSON object per line.

Who is silent, slow, talks nonsense or far too much delays nobody else.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Callable, Sequence

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import InvalidReport, LoadReport, canonical_host, parse_report
from nginy.complaints import Complaints
from nginy.watch.line_reader import LINES_PER_S, LineReader, Turns
from nginy.watch.reports import AmbiguousReport

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 4_096
SHOWN_CHARACTERS = 80
"""Of what a line says, in the log."""
SHARE_OF_DESCRIPTORS = 4
"""Reporters have at most one in this many of those that the process may have."""
MOST_PER_BACKEND = 8
"""Of one host, per backend that it has: beyond, the one silent longest is closed, so that a host
that connects again and again without closing locks out neither the others nor itself."""
ACCEPTS_AT_ONCE = 16
ACCEPT_PAUSE_S = 0.02
"""After as many accepts, so that at most 800 a second are: a host that connects again and again
takes some hundredths of a core. The others wait in the kernel's queue."""
SHORTAGE_PAUSE_S = 1.0
"""After an accept that found no descriptor or memory."""
KERNEL_BUFFER_BYTES = 16_384
"""For what was sent and not read yet: of a reporter that is too fast, that is old."""
SILENCE_S = 300.0
"""A connection without a byte for this long is closed: its peer may have vanished without a word.
A reporter that is alive connects again."""
SWEEP_S = 30.0
"""How often that is looked at."""

Find = Callable[[str, str | None], Sequence[Backend]]
"""The backends at a source address."""
Deliver = Callable[[str, str | None, LoadReport, float], bool]
"""Takes a report from a host with the id that it names, at a time in seconds on the monotonic
clock; whether it is about a backend. Raises AmbiguousReport."""


class LoadListener:
    """A TCP listener for any number of reporters at once, as far as there are descriptors."""

    def __init__(self, address: Address, find: Find, deliver: Deliver) -> None:
        """Nothing is listened to before `start`. Port 0: any free one."""
        self._wanted = address
        self._find = find
        self._deliver = deliver
        self._complaints = Complaints(log)
        self._most = 0
        self._socket: socket.socket | None = None
        self._turns: Turns | None = None
        self._reporters: dict[LineReader, None] = {}
        """The one silent longest at the beginning; so below."""
        self._at_host: dict[str, dict[LineReader, None]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the address is taken or not this host's."""
        loop = asyncio.get_running_loop()
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE_OF_DESCRIPTORS
        self._socket = socket.create_server(self._wanted, family=self._wanted.family)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
        self._turns = Turns(self._work, self._slowed, time.monotonic())
        self._sweep = loop.call_later(SWEEP_S, self._close_silent)
        loop.add_reader(self._socket, self._accept)

    @property
    def address(self) -> Address:
        """Where it listens; to be asked after `start`."""
        if self._socket is None:
            raise RuntimeError("not started")
        return Address(*self._socket.getsockname()[:2])

    def close(self) -> None:
        """Stop listening, and close every reporter's connection."""
        for timer in (self._sweep, self._pause):
            if timer is not None:
                timer.cancel()
        for reporter in tuple(self._reporters):
            self._drop(reporter)
        if self._socket is not None and self._turns is not None:
            self._turns.close()
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        """A bounded number; a connection more than that waits for the next turn."""
        assert self._socket is not None
        now = time.monotonic()
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                self._complaints.say("accept", now, "load reports: not accepted: %s", reason)
                own = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
                self._pause_accepting(SHORTAGE_PAUSE_S if own else ACCEPT_PAUSE_S)
                return
            self._enter(sock, canonical_host(peer[0]), now)
        self._pause_accepting(ACCEPT_PAUSE_S)

    def _pause_accepting(self, pause_s: float) -> None:
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._pause = loop.call_later(pause_s, loop.add_reader, self._socket, self._accept)

    def _enter(self, sock: socket.socket, host: str, now: float) -> None:
        """A connection came; it is closed if it may not stay."""
        assert self._turns is not None
        backends = self._find(host, None)
        if not backends:
            message = "load reports: no backend has the address %s"
            self._complaints.say("stranger", now, message, host)
            sock.close()
            return
        own = self._at_host.get(host, {})
        if len(own) >= MOST_PER_BACKEND * len(backends):
            self._drop(next(iter(own)))
        elif len(self._reporters) >= self._most:
            message = "load reports: more than %d connections, a quarter of `ulimit -n`"
            self._complaints.say("full", now, message, self._most)
            sock.close()
            return
        sock.setblocking(False)
        reporter = LineReader(sock, host, now)
        self._reporters[reporter] = None
        self._at_host.setdefault(host, {})[reporter] = None
        self._turns.watch(reporter)

    def _drop(self, reporter: LineReader) -> None:
        """Close the connection now."""
        assert self._turns is not None
        del self._reporters[reporter]
        own = self._at_host[reporter.host]
        del own[reporter]
        if not own:
            del self._at_host[reporter.host]
        self._turns.leave(reporter)
        reporter.sock.close()

    def _work(self, reporter: LineReader, now: float) -> bool:
        """Handle a line, or read if there is none; False: the connection is closed."""
        if reporter.lines:
            line = reporter.lines.popleft()
            if len(line) <= LONGEST_LINE_BYTES:
                self._handle(reporter.host, line, now)
                return True
        else:
            alive = reporter.read()
            self._heard(reporter, now)
            if alive and len(reporter.unfinished) <= LONGEST_LINE_BYTES:
                return True
            if not alive:
                self._drop(reporter)
                return False
        self._complaints.say(
            f"long {reporter.host}",
            now,
            "load report from %s: a line of more than %d bytes",
            reporter.host,
            LONGEST_LINE_BYTES,
        )
        self._drop(reporter)
        return False

    def _heard(self, reporter: LineReader, now: float) -> None:
        reporter.heard_at = now
        for reporters in (self._reporters, self._at_host[reporter.host]):
            del reporters[reporter]
            reporters[reporter] = None

    def _handle(self, host: str, line: bytes, now: float) -> None:
        try:
            backend_id, report = parse_report(line)
            known = self._deliver(host, backend_id, report, now)
        except (InvalidReport, AmbiguousReport) as error:
            shown = str(error)[:SHOWN_CHARACTERS]
            self._complaints.say(f"invalid {host}", now, "load report from %s: %s", host, shown)
            return
        if not known:
            shown = repr(backend_id)[:SHOWN_CHARACTERS]
            message = "load report from %s: no backend %s"
            self._complaints.say(f"unknown {host}", now, message, host, shown)

    def _slowed(self, reporter: LineReader, now: float) -> None:
        host = reporter.host
        message = "load reports from %s: more than %g lines per second, so they are read late"
        self._complaints.say(f"fast {host}", now, message, host, LINES_PER_S)

    def _close_silent(self) -> None:
        now = time.monotonic()
        while self._reporters:
            reporter = next(iter(self._reporters))
            if now - reporter.heard_at <= SILENCE_S:
                break
            self._drop(reporter)
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._close_silent)
