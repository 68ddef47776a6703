"""One TCP connection, from accept to close record: `TcpProxy._serve`, top to bottom."""

import itertools
import logging
import socket
from collections import Counter
from collections.abc import Callable
from time import monotonic

from nginy.address import Address
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool
from nginy.complaints import Complaints
from nginy.engine.poller import Poller
from nginy.engine.splice_mover import SpliceMover
from nginy.engine.strand import Strand, suspended
from nginy.engine.timers import TimerWheel
from nginy.tcp.connection import Connection
from nginy.tcp.progress import Progress
from nginy.tcp.reach import Link, Reach
from nginy.tcp.relay import Relay
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.context import ConnectionContext
from nginy.traffic.record import Record, close_record
from nginy.traffic.service import Service

complaints = Complaints(logging.getLogger(__name__))

REFUSALS = {
    CloseReason.DENIED: "the access list denies it",
    CloseReason.TOO_MANY_CONNECTIONS: "limits.max_connections of the process are open",
    CloseReason.RULE_FULL: "the rule's limits.max_connections are open",
    CloseReason.SOURCE_FULL: "its source has max_connections_per_source open",
    CloseReason.SOURCE_RATE: "its source opens more than new_per_s_per_source",
    CloseReason.QUEUE_FULL: "every backend is full, and queue.max_waiting wait already",
    CloseReason.QUEUE_TIMEOUT: "every backend was full for queue.timeout_ms",
}
"""What is logged of them."""


class TcpProxy:
    """Serves accepted connections; holds those that are open, and counts how they closed."""

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        pool: BackendPool,
        find_service: Callable[[str, int], Service | None],
        write_record: Callable[[Record], None] | None,
        after_pick: Callable[[Service, float], None],
    ) -> None:
        """`find_service(client host, port)` is the routing; `write_record` None: no access log;
        `after_pick` is told of each pick of a rule whose algorithm wants probes."""
        self._poller = poller
        self._wheel = wheel
        self._reach = Reach(poller, wheel, pool, after_pick)
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
            if strand in self._open:  # not ended by one before it
                strand.throw(ConnectionEnd(CloseReason.SHUTDOWN))

    async def _serve(
        self, strand: Strand, client: socket.socket, context: ConnectionContext
    ) -> None:
        service: Service | None = None
        try:
            service = self._admit(context)
            connection = Connection(strand, client, service, context)
            if service.dead_peers is not None:
                service.dead_peers.watch(client)
            self._poller.watch(client, connection.on_client)
            link = await self._reach.backend_for(connection)
            try:
                context.close_reason = await self._relay(connection, link)
            finally:
                self._leave_backend(connection, link)
        except ConnectionEnd as end:
            context.close_reason = end.reason
        finally:
            context.closed_s = monotonic()
            if service is not None:
                service.door.leave(context.client, context.closed_s)
            self._poller.close(client)
            self._record(context)

    def _admit(self, context: ConnectionContext) -> Service:
        """The service whose door the client has entered."""
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
        refusal = service.door.enter(context.client, context.opened_s)
        if refusal is not None:
            raise ConnectionEnd(refusal)
        return service

    async def _relay(self, connection: Connection, link: Link) -> CloseReason:
        service, context, wheel = connection.service, connection.context, self._wheel
        progress: Progress | None = None
        if service.balancer.wants_progress:
            progress = Progress(link.lease, context.connect_began_s)
        relay = Relay(
            self._poller,
            wheel,
            connection.client,
            link.upstream,
            SpliceMover,
            service.limits,
            service.rates,
            progress.first_byte if progress else None,
        )
        timer = wheel.add(monotonic() + service.limits.shortest_s, relay.check)
        if progress is not None:
            progress.watch(relay, wheel, monotonic())
        try:
            reason = relay.start(connection.events_seen, link.events, connection.strand.resume)
            return reason or await suspended()
        finally:
            timer.cancel()
            relay.close()
            if progress is not None:
                progress.finish(monotonic())
            context.bytes_up = relay.up.mover.moved
            context.bytes_down = relay.down.mover.moved
            context.first_byte_s = relay.first_byte_at

    def _leave_backend(self, connection: Connection, link: Link) -> None:
        context, backend = connection.context, link.lease.backend
        connection.service.live.discard(backend, connection)
        self._poller.close(link.upstream)
        now, began_s = monotonic(), context.connect_began_s
        connected_s, first_byte_s = context.connected_s, context.first_byte_s
        outcome = Outcome(
            bytes_up=context.bytes_up,
            bytes_down=context.bytes_down,
            duration_s=now - began_s,
            connect_s=connected_s and connected_s - began_s,
            first_byte_s=first_byte_s and first_byte_s - began_s,
        )
        link.lease.release(outcome, now)

    def _record(self, context: ConnectionContext) -> None:
        reason = context.close_reason
        self.closed[reason] += 1
        if reason in REFUSALS:
            complaints.say(
                f"{reason.value} {context.rule}",
                context.closed_s,
                "%s: client %s refused: %s",
                context.rule,
                context.client,
                REFUSALS[reason],
            )
        if self._write_record is not None:
            self._write_record(close_record(context))
