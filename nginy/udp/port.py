"""A datagram's way: `UdpPort._ready`, and for a new client `UdpPort._begin`, top to bottom.

A session is one client (address and port) at one of our addresses; `nginy/udp/session.py`
has its life. Sessions count as connections: at the rule's door, and as leases on backends. A
datagram never waits in a queue: who finds every backend full is refused.
"""

import logging
import socket
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Protocol

from nginy.address import Address
from nginy.complaints import Complaints
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.service import Service
from nginy.udp.counters import Drop, UdpCounters
from nginy.udp.fan import Fan
from nginy.udp.registry import Registry
from nginy.udp.session import Session
from nginy.udp.socket import BUFFER_BYTES, Key, client_socket, kernel_drops

log = logging.getLogger(__name__)
complaints = Complaints(log)

DATAGRAMS_PER_TURN = 64
"""Read at once from a listening socket, before others have their turn."""
KERNEL_DROPS_EVERY_S = 1.0

_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)


class Flow(Protocol):
    """Who takes a client's datagrams."""

    def datagram(self, datagram: memoryview, now: float) -> None:
        """Carry one; it is valid during the call only."""


class UdpProxy:
    """All UDP ports of a process."""

    def __init__(
        self, registry: Registry, find_service: Callable[[str, int], Service | None]
    ) -> None:
        """`find_service(client host, port)` is the routing."""
        self.registry = registry
        self._find_service = find_service
        self._ports: list[UdpPort] = []
        self._drops_due_s = 0.0

    @property
    def listening(self) -> tuple[Address, ...]:
        """The addresses where new clients are served now."""
        return tuple(port.address for port in self._ports if not port.draining)

    @property
    def open_sessions(self) -> int:
        """Sessions that live."""
        return len(self.registry)

    @property
    def counters(self) -> UdpCounters:
        """What became of sessions and datagrams so far."""
        return self.registry.counters

    def listen(self, sock: socket.socket, address: Address) -> None:
        """Serve who sends to `sock`, a non-blocking socket bound to `address`; own it."""
        self._ports.append(UdpPort(self.registry, self._find_service, sock, address))

    def sweep(self, now: float) -> None:
        """What is due by time. The server calls it every 50 ms."""
        self.registry.sweep(now)
        if now >= self._drops_due_s:
            self._drops_due_s = now + KERNEL_DROPS_EVERY_S
            for port in self._ports:
                port.count_kernel_drops(now)

    def drain(self) -> None:
        """Serve nobody new; who has a session keeps it, so the sockets stay."""
        for port in self._ports:
            port.draining = True

    def abort_all(self) -> None:
        """End every session, with reason `shutdown`."""
        self.registry.end_all(CloseReason.SHUTDOWN)

    def close(self) -> None:
        """End all, and stop listening."""
        self.abort_all()
        for port in self._ports:
            port.count_kernel_drops(monotonic())
            port.close()
        self._ports.clear()


class UdpPort:
    """One listening socket and who speaks to it. The `Owner` of its sessions."""

    def __init__(
        self,
        registry: Registry,
        find_service: Callable[[str, int], Service | None],
        sock: socket.socket,
        address: Address,
    ) -> None:
        """Serve `sock` from now on."""
        self.address = address
        self.draining = False
        self._registry = registry
        self._find_service = find_service
        self._socket = sock
        self._clients = client_socket(sock, address)
        self._receive = self._clients.receive
        self._flows: dict[Key, Flow] = {}
        self._kernel_drops = 0
        registry.poller.watch_listener(sock, self._ready)

    def close(self) -> None:
        """Stop listening."""
        self._registry.poller.close(self._socket)

    def let_go(self, session: Session) -> None:
        """See `Owner`."""
        if self._flows.get(session.key) is session:
            del self._flows[session.key]

    def ended(self, session: Session, now: float) -> None:
        """See `Owner`."""
        self.let_go(session)
        session.service.door.leave(session.context.client, now)

    def count_kernel_drops(self, now: float) -> None:
        """Take note of what the kernel threw away since the last call."""
        drops = kernel_drops(self._socket)
        new = drops - self._kernel_drops
        if new:
            self._kernel_drops = drops
            self._registry.counters.dropped[Drop.KERNEL] += new
            complaints.say(
                f"kernel {self.address}",
                now,
                "%s: %d datagrams lost (%d in all): they came faster than they were read, and the "
                "receive buffer was full (udp.receive_buffer_bytes)",
                self.address,
                new,
                drops,
            )

    def _ready(self, _events: int) -> None:
        receive, flows, now = self._receive, self._flows, self._registry.poller.now
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                size, key = receive(_buffer)
            except OSError:  # BlockingIOError: no more for now
                return
            try:
                flow = flows.get(key) or self._begin(key, now)
                if flow is not None:
                    flow.datagram(_view[:size], now)
            except Exception:  # a fault of nginy costs this one datagram, not the others
                log.exception("a datagram was lost by a fault of nginy")

    def _begin(self, key: Key, now: float) -> Flow | None:
        """Who serves a client unknown so far; None: nobody."""
        client, listener = self._clients.client(key), self._clients.local(key)
        service = self._find_service(client.host, self.address.port)
        reason = self._admit(service, client, now)
        if service is None or reason is not None:
            context = self._registry.context(service, listener, client, now)
            self._registry.refuse(context, reason or CloseReason.NO_RULE)
            return None
        flow: Flow
        reply = self._clients.reply(key)
        if service.udp.per_datagram:
            ended = partial(self._fan_ended, key, service, client)
            flow = Fan(self._registry, service, listener, client, reply, ended)
        else:
            context = self._registry.context(service, listener, client, now)
            flow = Session(self._registry, service, self, key, reply, context)
        self._flows[key] = flow
        return flow

    def _admit(self, service: Service | None, client: Address, now: float) -> CloseReason | None:
        """Why the client is turned away; None: it is counted in."""
        if self.draining:
            return CloseReason.SHUTDOWN
        if service is None:
            return CloseReason.NO_RULE
        reason = service.door.enter(client, now)
        if reason is None and not service.udp.per_datagram:
            if self._registry.make_room(service, now):
                return None
            service.door.leave(client, now)
            return CloseReason.SHED
        return reason

    def _fan_ended(self, key: Key, service: Service, client: Address, now: float) -> None:
        if self._flows.pop(key, None) is not None:
            service.door.leave(client, now)
