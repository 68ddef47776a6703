"""A datagram's way: `UdpPort._read`, and for a new client `UdpPort._begin`, top to bottom.

A session is one client (address and port) at one of our addresses; `nginy/udp/session.py` has its
life. Sessions count as connections: by the rule's admission, and as leases on backends. A datagram
never waits in a queue: who finds every backend full is refused.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Protocol

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.complaints import Complaints
from nginy.traffic.attempt import Attempt
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.ledger import Drop
from nginy.traffic.rule import RunningRule
from nginy.udp.newcomers import Newcomers
from nginy.udp.session import Session, left_because
from nginy.udp.sessions import HOLD_S, Sessions
from nginy.udp.socket import (
    BUFFER_BYTES,
    Key,
    Receive,
    Reply,
    client_socket,
    kernel_drops,
    let_share_port,
)

log = logging.getLogger(__name__)
complaints = Complaints(log)

DATAGRAMS_PER_TURN = 64
"""Read at once from a listening socket, before others have their turn."""
DATAGRAMS_PER_LATE_TURN = 256
"""While new clients wait: most of what comes then is put aside, at 2 us each."""
KEPT_PER_TURN = 100
"""Clients that get a socket of their own at the beginning of a drain."""
KERNEL_DROPS_EVERY_S = 1.0

_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)

FindRule = Callable[[str, int], RunningRule | None]
"""Takes a client's host and the port it sent to."""


class Flow(Protocol):
    """Who takes a client's datagrams."""

    def datagram(self, datagram: memoryview, now: float) -> None:
        """Carry one; it is valid during the call only."""

    def end(self, reason: CloseReason) -> None:
        """Take no more."""


class UdpProxy:
    """All UDP ports of a process."""

    def __init__(self, sessions: Sessions, find_rule: FindRule) -> None:
        """None yet."""
        self.sessions = sessions
        self._find_rule = find_rule
        self._ports: list[UdpPort] = []
        self._drops_due_s = 0.0
        self._newcomers = Newcomers(sessions.poller, sessions.ledger)

    @property
    def listening(self) -> tuple[Address, ...]:
        """The addresses where new clients are served now."""
        return tuple(port.address for port in self._ports if not port.draining)

    @property
    def open_sessions(self) -> int:
        """Sessions that live."""
        return len(self.sessions)

    def listen(self, sock: socket.socket, address: Address) -> None:
        """Serve who sends to `sock`, a non-blocking socket bound to `address`; own it."""
        port = UdpPort(self.sessions, self._find_rule, self._newcomers, sock, address)
        self._ports.append(port)

    def sweep(self, now: float) -> None:
        """What is due by time. The server calls it every 50 ms."""
        self.sessions.sweep(now)
        if now >= self._drops_due_s:
            self._drops_due_s = now + KERNEL_DROPS_EVERY_S
            for port in self._ports:
                port.count_kernel_drops(now)

    @property
    def sockets(self) -> dict[Address, socket.socket]:
        """Where new clients come, for who takes them over."""
        return {port.address: port.sock for port in self._ports}

    def keep_clients(self) -> None:
        """See `UdpPort.keep_clients`."""
        for port in self._ports:
            port.keep_clients()

    def drain(self, *, handed_over: bool = False) -> None:
        """Serve nobody new, and let a successor have the ports; who has a session keeps it."""
        for port in self._ports:
            port.drain(handed_over=handed_over)

    def abort_all(self) -> None:
        """End every session, with reason `shutdown`."""
        self.sessions.end_all(CloseReason.SHUTDOWN)

    def close(self) -> None:
        """End all, and stop listening."""
        self._newcomers.clear()
        self.abort_all()
        for port in self._ports:
            port.count_kernel_drops(monotonic())
            port.close()
        self._ports.clear()


class UdpPort:
    """One listening socket and who speaks to it. The `Owner` of its sessions."""

    def __init__(
        self,
        sessions: Sessions,
        find_rule: FindRule,
        newcomers: Newcomers,
        sock: socket.socket,
        address: Address,
    ) -> None:
        """Serve `sock` from now on."""
        self.address = address
        self.sock = sock
        self.draining = False
        self._handed_over = False
        """A successor reads the socket; here it is for answers only."""
        self._sessions = sessions
        self._find_rule = find_rule
        self._newcomers = newcomers
        self._clients = client_socket(sock, address)
        self._flows: dict[Key, Flow] = {}
        self._kernel_drops = 0
        self._kept: dict[Key, socket.SocketType] = {}
        """While draining: the sockets of clients with a session."""
        sessions.poller.watch_listener(sock, partial(self._read, self._clients.receive))

    def drain(self, *, handed_over: bool) -> None:
        """Serve nobody new, and let a successor have the port (it was `handed_over`, or is bound),
        which then gets all but what the clients with a session send. Those are answered by the old
        socket: it stays until `close`.
        """
        self.draining, self._handed_over = True, handed_over
        if handed_over:
            self._sessions.poller.unwatch(self.sock)
        self.keep_clients()

    def keep_clients(self) -> None:
        """Let what clients with a session send come here, whoever else reads the socket."""
        let_share_port(self.sock)
        self._keep_some([key for key in self._flows if key not in self._kept])

    def _keep_some(self, keys: Sequence[Key], _now: float = 0.0) -> None:
        """Give clients sockets of their own, some per turn: each takes 20 us.

        Where that fails (no descriptor, or the successor was there first), a client still has the
        answers that are under way, and what it sends is the successor's.
        """
        poller = self._sessions.poller
        for key in keys[:KEPT_PER_TURN]:
            if key in self._flows:
                try:
                    sock, receive = self._clients.of_one(key)
                except OSError as error:
                    log.warning("%s: clients go to a successor: %s", self.address, error.strerror)
                    return
                self._kept[key] = sock
                poller.watch_listener(sock, partial(self._read, receive))
        if rest := keys[KEPT_PER_TURN:]:
            poller.run_soon(partial(self._keep_some, rest))
        elif self._handed_over:
            let_share_port(self.sock, share=False)

    def close(self) -> None:
        """Stop listening."""
        poller = self._sessions.poller
        if not self._handed_over:
            poller.unwatch(self.sock)  # as in nginy/server/listener.py
        for sock in (self.sock, *self._kept.values()):
            poller.close(sock)
        self._kept.clear()

    def let_go(self, session: Session) -> None:
        """See `Owner`."""
        if self._flows.get(session.key) is session:
            self.forget(session.key)

    def ended(self, session: Session, now: float) -> None:
        """See `Owner`."""
        self.let_go(session)

    def forget(self, key: Key) -> None:
        """Whoever took the datagrams of `key` takes no more."""
        self._flows.pop(key, None)
        if self._kept and (sock := self._kept.pop(key, None)) is not None:
            self._sessions.poller.close(sock)

    def count_kernel_drops(self, now: float) -> None:
        """Take note of what the kernel threw away since the last call."""
        drops = kernel_drops(self.sock)
        new = drops - self._kernel_drops
        if new and not self._handed_over:
            self._kernel_drops = drops
            self._sessions.ledger.dropped[Drop.KERNEL] += new
            complaints.say(
                f"kernel {self.address}",
                now,
                "%s: %d datagrams lost (%d in all): they came faster than they were read, and the "
                "receive buffer was full (udp.receive_buffer_bytes)",
                self.address,
                new,
                drops,
            )

    def _read(self, receive: Receive, _events: int) -> None:
        flows, newcomers, now = self._flows, self._newcomers, self._sessions.poller.now
        for _ in range(DATAGRAMS_PER_LATE_TURN if newcomers else DATAGRAMS_PER_TURN):
            try:
                size, key = receive(_buffer)
            except OSError:  # BlockingIOError: no more for now
                return
            flow = flows.get(key)
            try:
                if flow is None:
                    if not newcomers.may_begin(now):
                        newcomers.wait(_view[:size], partial(self._serve_late, key), now)
                        continue
                    flow = self._begin(key, now)
                if flow is not None:
                    flow.datagram(_view[:size], now)
            except Exception:
                _lost(flow)

    def _serve_late(self, key: Key, datagram: memoryview, now: float) -> None:
        """Carry a datagram of a client that had no session when it came."""
        flow: Flow | None = None
        try:
            flow = self._flows.get(key) or self._begin(key, now)
            if flow is not None:
                flow.datagram(datagram, now)
        except Exception:
            _lost(flow)

    def _begin(self, key: Key, now: float) -> Flow | None:
        """Who serves a client unknown so far; None: nobody.

        One that comes here although a successor has the port was already waiting, or came while a
        kept client's socket was not yet connected to that client.
        """
        client, listener = self._clients.client(key), self._clients.local(key)
        rule = self._find_rule(client.host, self.address.port)
        if rule is None:
            self._sessions.ledger.nobodys("udp", listener, client, now)
            return None
        if self.draining and not self._handed_over:
            Attempt.refuse(rule, listener, client, CloseReason.SHUTDOWN, now)
            return None
        try:
            attempt = Attempt.begin(rule, listener, client, now)
        except ConnectionEnd:
            return None
        try:
            flow = self._flow(key, attempt, now)
        except BaseException:
            attempt.close(CloseReason.INTERNAL_ERROR, now)
            raise
        if flow is not None:
            self._flows[key] = flow
        return flow

    def _flow(self, key: Key, attempt: Attempt, now: float) -> Flow | None:
        reply = self._clients.reply(key)
        if attempt.rule.udp.per_datagram:
            return Fan(self._sessions, attempt, self, key, reply)
        if self._sessions.make_room(attempt.rule, now):
            return Session(self._sessions, attempt, self, key, reply)
        attempt.dropped = 1
        attempt.close(CloseReason.SHED, now)
        return None


def _lost(flow: Flow | None) -> None:
    """A fault of nginy costs this one client, not the others."""
    log.exception("a datagram was lost by a fault of nginy")
    if flow is not None:
        flow.end(CloseReason.INTERNAL_ERROR)


class Fan:
    """One client of a rule with `per_datagram`: each of its datagrams is balanced by itself.

    There is one session, hence one socket and one lease, per backend that it was sent to, so that
    answers find their way back; each ends by itself, and `max_sessions` counts each. The client is
    admitted once; `requests` does not apply. A backend that refused gets nothing of this client for
    `HOLD_S`, or the next datagram could be sent there again and again.

    A `Flow`, and the `Owner` of its sessions, which it knows by their backends.
    """

    def __init__(
        self, sessions: Sessions, admitted: Attempt, port: UdpPort, key: Key, reply: Reply
    ) -> None:
        """`admitted` holds the client's place under the caps, and never a backend; `port` knows it
        by `key`."""
        self.sessions = sessions
        self.rule = admitted.rule
        self._admitted = admitted
        self._port = port
        self._key = key
        self._reply = reply
        self._by_backend: dict[Backend, FanSession] = {}
        self._refused_until: dict[Backend, float] = {}
        self._beginning = False
        """A session is about to be added; the one that makes room for it may be the last."""

    def datagram(self, datagram: memoryview, now: float) -> None:
        """See `Flow`."""
        backend = self.rule.pick(self._admitted.client, now, self._avoided(now))
        if backend is None:
            self._refuse(CloseReason.NO_BACKEND, now)
            return
        session = self._by_backend.get(backend) or self._begin(backend, now)
        if session is not None:
            session.datagram(datagram, now)

    def end(self, reason: CloseReason) -> None:
        """See `Flow`."""
        for session in tuple(self._by_backend.values()):
            session.end(reason)
        self._end_if_empty(monotonic())

    def let_go(self, session: Session) -> None:
        """See `Owner`: `requests` does not apply."""

    def ended(self, session: Session, now: float) -> None:
        """See `Owner`."""
        self._by_backend.pop(session.key, None)
        self._end_if_empty(now)

    def resend(self, refused_by: Backend, datagrams: list[bytes], now: float) -> bool:
        """Send what a backend refused to others; False: enough were tried."""
        self._refused_until[refused_by] = now + HOLD_S
        if len(self._avoided(now)) >= self.rule.max_tries:
            return False
        for datagram in datagrams:
            self.datagram(memoryview(datagram), now)
        return True

    def _avoided(self, now: float) -> list[Backend]:
        if self._refused_until:
            lately = {who: until for who, until in self._refused_until.items() if until > now}
            self._refused_until = lately
        return list(self._refused_until)

    def _begin(self, backend: Backend, now: float) -> "FanSession | None":
        self._beginning = True
        room = self.sessions.make_room(self.rule, now)
        self._beginning = False
        if not room:
            self._refuse(CloseReason.SHED, now)
            return None
        attempt = Attempt(self.rule, self._admitted.listener, self._admitted.client, now)
        attempt.came_by = self._admitted.came_by
        session = FanSession(self, attempt, backend, self._reply)
        self._by_backend[backend] = session
        return session

    def _refuse(self, reason: CloseReason, now: float) -> None:
        client, listener = self._admitted.client, self._admitted.listener
        Attempt.refuse(self.rule, listener, client, reason, now)
        self._end_if_empty(now)

    def _end_if_empty(self, now: float) -> None:
        if not self._by_backend and not self._beginning:
            self._port.forget(self._key)
            self._admitted.give_up_place(now)


class FanSession(Session):
    """Of one client with one backend: it never moves, the fan chooses anew anyway."""

    __slots__ = ("_fan",)

    def __init__(self, fan: Fan, attempt: Attempt, backend: Backend, reply: Reply) -> None:
        """Begin with `backend`."""
        super().__init__(fan.sessions, attempt, fan, backend, reply)
        self._fan = fan

    def rebind(self) -> None:
        """The datagrams to come go to others."""
        self.end(left_because(self.key, monotonic()))

    def _bind(self, now: float) -> socket.SocketType:
        self.attempt.take(self.key, now)
        upstream = self._open_upstream(self.key, now)
        if upstream is None:
            raise ConnectionEnd(CloseReason.CONNECT_FAILED)
        return upstream

    def _unreachable(
        self, waiting: Sequence[memoryview | bytes], reason: CloseReason, now: float
    ) -> None:
        if reason is CloseReason.CONNECT_FAILED:
            self._move_on([bytes(datagram) for datagram in waiting], now)
        else:
            super()._unreachable(waiting, reason, now)

    def _move_on(self, datagrams: list[bytes], now: float) -> None:
        if not self._fan.resend(self.key, datagrams, now):
            self._drop(Drop.NO_BACKEND, len(datagrams))
        self._end(CloseReason.CONNECT_FAILED, now)
