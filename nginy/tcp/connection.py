"""One TCP connection, from accept to close record: `TcpProxy._serve`, top to bottom."""

import socket
from collections.abc import Awaitable, Callable
from select import EPOLLERR, EPOLLRDHUP
from time import monotonic
from typing import cast

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.config.schema import ConnectionTimeouts
from nginy.engine.dial import dial, refused
from nginy.engine.movers import CopyMover
from nginy.engine.poller import GONE, READABLE, WRITABLE, Poller
from nginy.engine.strand import Strand, suspended
from nginy.engine.timers import Timer, TimerWheel
from nginy.errors import BackendError, NoResources
from nginy.tcp.relay import Relay
from nginy.traffic.attempt import Attempt, BackendWithdrawn
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.ledger import Ledger
from nginy.traffic.rule import RunningRule

PROGRESS_S = 1.0
"""How often an algorithm that wants to know hears how much a connection has carried."""


class Connection(Strand):
    """One client while it is served: the coroutine that serves it, and what its events mean.

    The `Carrier` of its attempt.
    """

    __slots__ = ("_events_seen", "_must_stay", "client", "relay", "upstream")

    def __init__(self, ended: Callable[[Strand], None], client: socket.SocketType) -> None:
        """`client` is a non-blocking socket, whose events come to `on_client`."""
        super().__init__(ended)
        self.client = client
        self.upstream: socket.SocketType | None = None
        """Towards the backend."""
        self.relay: Relay | None = None
        """None: no backend has been reached yet."""
        self._events_seen = 0
        self._must_stay = False
        """Waiting is of no use once the client has left."""

    def on_client(self, events: int) -> None:
        """Keep the client's events for the relay; a reset ends the connection."""
        self._events_seen |= events
        if events & GONE or (self._must_stay and self._client_left()):
            self.throw(ConnectionEnd(CloseReason.CLIENT_RESET))

    @property
    def events_seen(self) -> int:
        """What the poller has reported of the client before the relay had its events."""
        return self._events_seen

    async def queued(self) -> Backend:
        """Wait for the queue's backend. Raises ConnectionEnd if it has none, or the client leaves:
        it resets the connection, or ends it without ever having sent anything. Who has sent
        something and then FIN expects an answer."""
        if self._client_left():
            raise ConnectionEnd(CloseReason.CLIENT_RESET)
        self._must_stay = True
        try:
            return cast(Backend, await suspended())
        finally:
            self._must_stay = False

    def end(self, reason: CloseReason) -> None:
        """Close now; a backend that is only being connected to is given up for the next one."""
        if self.relay is None:
            self.throw(BackendWithdrawn(f"given up while connecting: {reason.value}", "withdrawn"))
        else:
            self.throw(ConnectionEnd(reason))

    def rebind(self) -> None:
        """See `Live`: a TCP connection cannot, and the configuration does not allow it."""
        raise NotImplementedError

    def carried(self) -> tuple[int, int]:
        """See `Live`."""
        return (0, 0) if self.relay is None else self.relay.carried()

    def _client_left(self) -> bool:
        if not self._events_seen & EPOLLRDHUP:
            return False
        try:
            return not self.client.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


Preface = Callable[[Connection, Address], Awaitable[Address]]
"""Reads what a connection begins with (a PROXY header, a TLS hello) before its rule is chosen;
takes the peer's address and gives the client's. Raises ConnectionEnd. It has the client's events
until then (`Poller.watch`), and leaves the socket unwatched, and unread what the backend is to have
(MSG_PEEK). Times count from its end; a limit of its own is its own business, too."""


class TcpProxy:
    """Serves accepted connections, and holds those that are open."""

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        ledger: Ledger,
        find_rule: Callable[[str, int], RunningRule | None],
        preface: Preface | None = None,
    ) -> None:
        """`find_rule(client host, port)` is the routing."""
        self._poller = poller
        self._wheel = wheel
        self._ledger = ledger
        self._find_rule = find_rule
        self._preface = preface
        self._open: set[Strand] = set()

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet closed."""
        return len(self._open)

    def accept(self, client: socket.SocketType, peer: Address, listener: Address) -> None:
        """Serve `client`, a non-blocking socket that `peer` connected to `listener`; own it."""
        connection = Connection(self._open.discard, client)
        self._open.add(connection)
        connection.start(self._serve(connection, peer, listener))

    def abort_all(self) -> None:
        """Close every open connection, with reason `shutdown`."""
        for connection in tuple(self._open):
            if connection in self._open:  # not ended by one before it
                connection.throw(ConnectionEnd(CloseReason.SHUTDOWN))

    async def _serve(self, connection: Connection, peer: Address, listener: Address) -> None:
        client, poller, now = connection.client, self._poller, monotonic()
        attempt: Attempt | None = None
        reason = CloseReason.INTERNAL_ERROR
        try:
            if self._preface is not None:
                peer = await self._preface(connection, peer)
                now = monotonic()
            rule = self._find_rule(peer.host, listener.port)
            if rule is None:
                self._ledger.nobodys("tcp", listener, peer, now)
                return
            attempt = Attempt.begin(rule, listener, peer, now)
            attempt.carrier = connection
            if rule.watches_peers:
                watch_peer(client, rule.timeouts)
            poller.watch(client, connection.on_client)
            events = await self._reach(connection, attempt)
            reason = await self._relay(connection, attempt, events)
        except ConnectionEnd as end:
            reason = end.reason
        except NoResources:
            reason = CloseReason.NO_RESOURCES
        finally:
            poller.close(client)
            if connection.upstream is not None:
                poller.close(connection.upstream)
            if attempt is not None:
                attempt.close(reason, monotonic())

    async def _reach(self, connection: Connection, attempt: Attempt) -> int:
        """Try backend after backend; what the poller has reported of the one that was reached.

        Raises ConnectionEnd, NoResources.
        """
        now = attempt.opened_s
        while True:
            if attempt.choose(now, connection) is None:
                backend = await connection.queued()
                attempt.placed(backend, monotonic())
            try:
                events = await self._connect(connection, attempt)
            except BackendError as error:
                now = monotonic()
                if connection.upstream is not None:
                    self._poller.close(connection.upstream)
                    connection.upstream = None
                attempt.failed(error, now)
            else:
                attempt.reached(monotonic())
                return events

    async def _connect(self, connection: Connection, attempt: Attempt) -> int:
        """Connect to the backend that was taken. Raises BackendError, NoResources."""
        rule, backend = attempt.rule, attempt.leased
        assert backend is not None
        timeout_s = min(rule.connect_timeout_s, attempt.time_left_s)
        connection.upstream = upstream = dial(backend.address)
        if backend.address.port in rule.loops.ports and rule.loops.possible(backend.address):
            attempt.opened(Address(*upstream.getsockname()[:2]))
        self._poller.watch(upstream, connection.resume, READABLE | WRITABLE)
        timer = self._wheel.add(
            attempt.connect_began_s + timeout_s, lambda now: connection.resume(0)
        )
        try:
            events: int = await suspended()
        finally:
            timer.cancel()
        if events == 0:
            raise BackendError(f"no answer within {timeout_s * 1e3:.0f} ms", "timeout")
        if events & EPOLLERR:
            raise refused(upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if rule.watches_peers:
            watch_peer(upstream, rule.timeouts)
        if self._ledger.keeps_records:
            attempt.upstream_local = local_address(upstream)
        return events

    async def _relay(
        self, connection: Connection, attempt: Attempt, upstream_events: int
    ) -> CloseReason:
        rule, wheel, upstream, now = attempt.rule, self._wheel, connection.upstream, monotonic()
        assert upstream is not None
        relay = connection.relay = Relay(
            self._poller,
            wheel,
            connection.client,
            upstream,
            CopyMover,
            rule.limits,
            rule.rates,
            monotonic,
            now,
            attempt.first_byte,
        )
        progress: Timer | None = None
        try:
            if rule.balancer.wants_progress:
                progress = wheel.add(now + PROGRESS_S, _progress(connection, attempt))
            reason = relay.start(connection.events_seen, upstream_events, connection.resume)
            return reason or await suspended()
        finally:
            if progress is not None:
                progress.cancel()
            relay.close()
            attempt.last_byte_s = relay.last_byte_at
            attempt.bytes_up, attempt.bytes_down = relay.carried()
            connection.relay = None  # they refer to each other, and that would be cyclic garbage


def _progress(connection: Connection, attempt: Attempt) -> Callable[[float], float | None]:
    def tell(now: float) -> float | None:
        try:
            attempt.progressed(now)
        except Exception as error:  # a fault of nginy ends this one connection
            connection.throw(error)
            return None
        return now + PROGRESS_S

    return tell


def local_address(sock: socket.SocketType) -> Address | None:
    """The address that the other end sees; None for a Unix socket, which has none."""
    name = sock.getsockname()  # not sock.family, which looks up an enum each time
    return Address(name[0], name[1]) if isinstance(name, tuple) else None


def watch_peer(sock: socket.SocketType, timeouts: ConnectionTimeouts) -> None:
    """Have the kernel find out when the peer has vanished without a word, if that is configured:
    TCP keepalive and TCP_USER_TIMEOUT. The connection then ends like a reset."""
    if sock.family == socket.AF_UNIX:  # its peer cannot vanish
        return
    if timeouts.keepalive_idle_s:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, timeouts.keepalive_idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, timeouts.keepalive_interval_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, timeouts.keepalive_count)
    if timeouts.user_timeout_ms:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeouts.user_timeout_ms)
