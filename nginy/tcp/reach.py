"""From a connection to a backend that was reached: pick, wait for a place, connect, try the next.

A backend that goes down, is drained or removed while it is being connected to counts by the rule's
`live_connections` like one that is connected, but for one thing: instead of closing the client, the
next backend is tried.
"""

import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple, cast

from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool, Lease
from nginy.complaints import Complaints
from nginy.engine.poller import Poller
from nginy.engine.timers import TimerWheel
from nginy.errors import BackendError
from nginy.tcp.connect import connect, local_address
from nginy.tcp.connection import BackendWithdrawn, Connection
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.service import Service

complaints = Complaints(logging.getLogger(__name__))


class Link(NamedTuple):
    """An established connection to a backend; whoever has it releases the lease, discards the
    connection from the rule's live ones, and closes the socket."""

    upstream: socket.socket
    lease: Lease
    events: int
    """What the poller has reported of `upstream` so far."""


class Reach:
    """Finds and connects backends, for all connections of a process."""

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        pool: BackendPool,
        after_pick: Callable[[Service, float], None],
    ) -> None:
        """`after_pick` is told of each pick of a rule whose algorithm wants probes."""
        self._poller = poller
        self._wheel = wheel
        self._pool = pool
        self._after_pick = after_pick

    async def backend_for(self, connection: Connection) -> Link:
        """Try backend after backend, as long as there are tries and time. Raises ConnectionEnd."""
        service, context = connection.service, connection.context
        now = context.opened_s
        give_up_s = now + service.total_timeout_s
        while len(context.tried) < service.max_tries:
            if now >= give_up_s:
                raise ConnectionEnd(CloseReason.CONNECT_TIMEOUT)
            backend = self._pick(connection, now)
            if backend is None:
                backend = await self._wait(connection, now)
                if backend is None:
                    break
                # Time in the queue does not count: it has its own limit.
                give_up_s = context.opened_s + context.queued_s + service.total_timeout_s
            if service.balancer.wants_probes:
                self._after_pick(service, monotonic())
            link = await self._try(connection, backend, give_up_s)
            if link is not None:
                return link
            now = monotonic()
        if context.tried:
            raise ConnectionEnd(CloseReason.CONNECT_FAILED)
        complaints.say(
            f"no backend {service.name}", now, "%s: no backend is available", service.name
        )
        raise ConnectionEnd(CloseReason.NO_BACKEND)

    def _pick(self, connection: Connection, now: float) -> Backend | None:
        """The next backend to try; None: there is none at once."""
        service, context = connection.service, connection.context
        if service.queue is not None and len(service.queue):  # somebody was here before
            return None
        return service.balancer.pick(context.client, now, context.tried)

    async def _wait(self, connection: Connection, now: float) -> Backend | None:
        """The next backend to try, once there is one; None: it is of no use to wait.

        Raises ConnectionEnd: no place in the queue, waited for too long, the client left.
        """
        queue, context = connection.service.queue, connection.context
        if queue is None or not (len(queue) or queue.worth_waiting(context.tried)):
            return None
        waiter = queue.join(connection.strand, context.client, context.tried, now)
        if len(queue) > 1:
            queue.wake_soon()
        try:
            return cast(Backend, await connection.queued())
        finally:
            queue.leave(waiter)
            context.queued_s += monotonic() - now

    async def _try(self, connection: Connection, backend: Backend, give_up_s: float) -> Link | None:
        """One attempt; None if it failed by the backend's fault."""
        service, context = connection.service, connection.context
        context.tried.append(backend)
        context.connect_began_s = began_s = monotonic()
        timeout_s = min(service.connect_timeout_s, give_up_s - began_s)
        lease = self._pool.lease(backend, service.balancer, began_s)
        service.live.add(backend, connection)
        try:
            upstream, events = await connect(
                connection.strand, self._poller, self._wheel, backend.address, timeout_s
            )
        except BackendError as error:
            service.live.discard(backend, connection)
            _failed(lease, error, began_s)
            return None
        except BaseException:
            service.live.discard(backend, connection)
            lease.release(Outcome(), monotonic())
            raise
        connection.connecting = False
        context.backend = backend
        context.connected_s = now = monotonic()
        context.upstream_local = local_address(upstream)
        if service.dead_peers is not None:
            service.dead_peers.watch(upstream)
        lease.connected(now - began_s, now)
        return Link(upstream, lease, events)


def _failed(lease: Lease, error: BackendError, began_s: float) -> None:
    now, backend = monotonic(), lease.backend
    failed = not isinstance(error, BackendWithdrawn)
    lease.release(Outcome(failed=failed, duration_s=now - began_s), now)
    complaints.say(backend.id, now, "backend %s at %s: %s", backend.id, backend.address, error)
