"""One TCP connection, from accept to close record: `TcpProxy._serve`, top to bottom."""

import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool, Lease
from nginy.errors import BackendError
from nginy.proxy.close_reason import CloseReason, ConnectionEnd
from nginy.proxy.complaints import Complaints
from nginy.proxy.connect import connect
from nginy.proxy.context import ConnectionContext
from nginy.proxy.poller import GONE, Poller
from nginy.proxy.record import Record, close_record
from nginy.proxy.relay import Limits, Relay
from nginy.proxy.service import Service
from nginy.proxy.splice_mover import SpliceMover
from nginy.proxy.strand import Strand, suspended
from nginy.proxy.timers import TimerWheel

complaints = Complaints(logging.getLogger(__name__))


class Link(NamedTuple):
    """An established connection to a backend."""

    upstream: socket.socket
    lease: Lease
    events: int
    """What the poller has reported of `upstream` so far."""


class ClientEvents:
    """The client's events while a backend is connected: kept; a reset ends the attempt."""

    __slots__ = ("_strand", "seen")

    def __init__(self, strand: Strand) -> None:
        """Watch on behalf of `strand`."""
        self._strand = strand
        self.seen = 0

    def __call__(self, events: int) -> None:
        """Handle the poller's events."""
        self.seen |= events
        if events & GONE:
            self._strand.throw(ConnectionEnd(CloseReason.CLIENT_RESET))


class TcpProxy:
    """Serves accepted connections; holds those that are open, and counts how they closed."""

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        pool: BackendPool,
        find_service: Callable[[str, int], Service | None],
        write_record: Callable[[Record], None] | None,
    ) -> None:
        """`find_service(client host, port)` is the routing; `write_record` None: no access log."""
        self._poller = poller
        self._wheel = wheel
        self._pool = pool
        self._find_service = find_service
        self._write_record = write_record
        self._numbers = itertools.count(1)
        self._open: set[Strand] = set()
        self.closed: Counter[CloseReason] = Counter()
        """Connections closed so far, by reason."""

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet closed."""
        return len(self._open)

    def accept(self, client: socket.socket, peer: Address, listener: Address) -> None:
        """Serve `client`, a non-blocking socket that `peer` connected to `listener`; own it."""
        context = ConnectionContext(str(next(self._numbers)), listener, peer, monotonic())
        strand = Strand(self._open.discard)
        self._open.add(strand)
        strand.start(self._serve(strand, client, context))

    def abort_all(self) -> None:
        """Close every open connection, with reason `shutdown`."""
        for strand in tuple(self._open):
            strand.throw(ConnectionEnd(CloseReason.SHUTDOWN))

    async def _serve(
        self, strand: Strand, client: socket.socket, context: ConnectionContext
    ) -> None:
        try:
            service = self._service_for(context)
            client_events = ClientEvents(strand)
            self._poller.watch(client, client_events)
            link = await self._reach_backend(strand, service, context)
            try:
                context.close_reason = await self._relay(
                    strand, client, link, client_events.seen, service.limits, context
                )
            finally:
                self._leave_backend(link, context)
        except ConnectionEnd as end:
            context.close_reason = end.reason
        finally:
            self._poller.close(client)
            self._record(context)

    def _service_for(self, context: ConnectionContext) -> Service:
        service = self._find_service(context.client.host, context.listener.port)
        if service is None:
            complaints.say(
                "no rule",
                context.opened_s,
                "no rule for client %s at %s: connection closed",
                context.client,
                context.listener,
            )
            raise ConnectionEnd(CloseReason.NO_RULE)
        context.rule = service.name
        return service

    async def _reach_backend(
        self, strand: Strand, service: Service, context: ConnectionContext
    ) -> Link:
        """Try backend after backend, as long as there are tries and time."""
        give_up_s = context.opened_s + service.total_timeout_s
        now = context.opened_s
        while len(context.tried) < service.max_tries:
            if now >= give_up_s:
                raise ConnectionEnd(CloseReason.CONNECT_TIMEOUT)
            backend = service.balancer.pick(context.client, now, context.tried)
            if backend is None:
                break
            timeout_s = min(service.connect_timeout_s, give_up_s - now)
            link = await self._try_backend(strand, service, context, backend, timeout_s)
            if link is not None:
                return link
            now = monotonic()
        if context.tried:
            raise ConnectionEnd(CloseReason.CONNECT_FAILED)
        complaints.say(
            f"no backend {service.name}", now, "%s: no backend is available", service.name
        )
        raise ConnectionEnd(CloseReason.NO_BACKEND)

    async def _try_backend(
        self,
        strand: Strand,
        service: Service,
        context: ConnectionContext,
        backend: Backend,
        timeout_s: float,
    ) -> Link | None:
        """One attempt; None if it failed by the backend's fault."""
        context.tried.append(backend)
        context.connect_began_s = began_s = monotonic()
        lease = self._pool.lease(backend, service.balancer, began_s)
        try:
            upstream, events = await connect(
                strand, self._poller, self._wheel, backend.address, timeout_s
            )
        except BackendError as error:
            now = monotonic()
            lease.release(Outcome(failed=True, duration_s=now - began_s), now)
            complaints.say(
                backend.id, now, "backend %s at %s: %s", backend.id, backend.address, error
            )
            return None
        except BaseException:
            lease.release(Outcome(), monotonic())
            raise
        context.backend = backend
        context.connected_s = now = monotonic()
        context.upstream_local = Address(*upstream.getsockname()[:2])
        lease.connected(now - began_s, now)
        return Link(upstream, lease, events)

    async def _relay(
        self,
        strand: Strand,
        client: socket.socket,
        link: Link,
        client_events: int,
        limits: Limits,
        context: ConnectionContext,
    ) -> CloseReason:
        relay = Relay(self._poller, client, link.upstream, SpliceMover, limits)
        timer = self._wheel.add(monotonic() + limits.shortest_s, relay.check)
        try:
            reason = relay.start(client_events, link.events, strand.resume)
            return reason or await suspended()
        finally:
            timer.cancel()
            relay.close()
            context.bytes_up = relay.up.mover.moved
            context.bytes_down = relay.down.mover.moved
            context.first_byte_s = relay.first_byte_at

    def _leave_backend(self, link: Link, context: ConnectionContext) -> None:
        self._poller.close(link.upstream)
        now = monotonic()
        first_byte_s = context.first_byte_s
        outcome = Outcome(
            bytes_up=context.bytes_up,
            bytes_down=context.bytes_down,
            duration_s=now - context.connect_began_s,
            first_byte_s=first_byte_s and first_byte_s - context.connect_began_s,
        )
        link.lease.release(outcome, now)

    def _record(self, context: ConnectionContext) -> None:
        context.closed_s = monotonic()
        self.closed[context.close_reason] += 1
        if self._write_record is not None:
            self._write_record(close_record(context))
