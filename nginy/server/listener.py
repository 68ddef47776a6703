"""Listening sockets: binding them, and accepting what waits."""

import errno
import logging
import os
import socket
from collections.abc import Callable
from time import monotonic

from nginy.address import Address
from nginy.complaints import Complaints
from nginy.engine.poller import Poller
from nginy.engine.timers import Timer, TimerWheel
from nginy.errors import NginyError
from nginy.server.bind_faults import bind_fault_text, holders
from nginy.udp.socket import enlarge_receive_buffer, let_share_port, receive_buffer_bytes

Accepted = Callable[[socket.SocketType, Address, Address], None]
"""Takes the connection, its peer, and the address it was accepted on."""

BACKLOG = 4096
"""The kernel lowers it to net.core.somaxconn; a queue too short makes clients wait 1 s or more."""
ACCEPTS_PER_TURN = 64
ACCEPT_S = 0.002
"""And no further one once this has passed: with its backend's connect one may take 0.1 ms."""
FALLBACK_S = 0.2
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger(__name__)
complaints = Complaints(log)


class ListenError(NginyError):
    """An address cannot be listened to."""


def bind(address: Address, rules: list[str]) -> socket.socket:
    """A non-blocking listening socket. Raises ListenError naming the address and `rules`.

    IPv6 sockets take IPv6 only, so that both families can have the same port, each its own rules.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it on Linux: one system call less per connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on {address}, needed by {', '.join(rules)}: "
            f"{bind_fault_text(error, address, 'tcp')}"
        ) from error
    return sock


def bind_datagrams(address: Address, rules: list[str], buffer_bytes: int) -> socket.socket:
    """A non-blocking UDP socket. Raises ListenError naming the address and `rules`.

    `buffer_bytes` 0 leaves the kernel's default. IPv6 sockets take IPv6 only. SO_REUSEADDR is not
    set but where the port is held by who allows that, as a predecessor does while it drains, and
    not for longer than to bind: with UDP it lets another process take the datagrams.
    """
    sock = socket.socket(address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind_datagrams(sock, address)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on {address} (udp), needed by {', '.join(rules)}: "
            f"{bind_fault_text(error, address, 'udp')}"
        ) from error
    if buffer_bytes:
        enlarge_receive_buffer(sock, buffer_bytes)
        granted = receive_buffer_bytes(sock)
        if granted < buffer_bytes:
            log.warning(
                "%s (udp): receive buffer of %d bytes instead of receive_buffer_bytes %d: raise "
                "net.core.rmem_max, or run with CAP_NET_ADMIN",
                address,
                granted,
                buffer_bytes,
            )
    return sock


def _bind_datagrams(sock: socket.socket, address: Address) -> None:
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        names = ", ".join(holders(address, "udp")) or "another process"
        let_share_port(sock)
        sock.bind(address)
        let_share_port(sock, share=False)
        log.warning(
            "%s (udp): taken over from %s, which lets others have the port",
            address,
            names,
        )


class Listener:
    """Accepts connections from one listening socket, as long as there are descriptors for them.

    A connection takes two, its own and one towards its backend. When there are none, those that
    wait stay in the kernel's queue until a connection closes.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        poller: Poller,
        wheel: TimerWheel,
        accepted: Accepted,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Accept from `sock` (owned from now on), giving each connection to `accepted`."""
        self.address = address
        self._socket = sock
        self._poller = poller
        self._wheel = wheel
        self._accepted = accepted
        self._clock = clock
        self._family = sock.family
        self._halfway: tuple[socket.SocketType, Address] | None = None
        """Accepted with the last descriptor: none is left towards its backend."""
        self._fallback: Timer | None = None
        """Set while accepting pauses."""
        self._open = True
        poller.watch_listener(sock, self._accept)

    def close(self) -> None:
        """Accept no more; what waits in the kernel's queue is reset."""
        if not self._open:
            return
        self._open = False
        if self._fallback is not None:
            self._fallback.cancel()
        self._poller.close(self._socket)
        self._serve_halfway()

    def _accept(self, _events: int) -> None:
        until = self._clock() + ACCEPT_S
        for _ in range(ACCEPTS_PER_TURN):
            try:
                descriptor, peer = self._socket._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                    return
                continue  # that one connection went away before it was accepted
            # As socket.accept does, without its layer of Python.
            client = socket.SocketType(self._family, socket.SOCK_STREAM, 0, descriptor)
            client.setblocking(False)
            try:
                self._try_descriptor()
            except OSError as error:
                self._halfway = client, Address(peer[0], peer[1])
                self._pause(error)
                return
            self._accepted(client, Address(peer[0], peer[1]), self.address)
            if self._clock() >= until:
                return

    def _pause(self, error: OSError) -> None:
        """Without a pause the waiting connection would wake the poller again and again."""
        now = self._poller.now
        complaints.say(
            "accept",
            now,
            "%s: no accepting until a descriptor comes free: %s",
            self.address,
            error.strerror,
        )
        self._poller.unwatch(self._socket)
        self._poller.when_descriptors_come_free(self._resume)
        # Not every descriptor is closed by the poller, and memory comes back without a close.
        self._fallback = self._wheel.add(now + FALLBACK_S, self._resume_late)

    def _resume_late(self, now: float) -> float | None:
        self._resume()
        return None if self._fallback is None else now + FALLBACK_S

    def _resume(self) -> None:
        """Go on accepting, if there is a descriptor; else stay in the pause."""
        if self._fallback is None or not self._open:
            return  # the other way of resuming came first
        try:
            self._try_descriptor()
            self._poller.watch_listener(self._socket, self._accept)
        except OSError:
            self._poller.when_descriptors_come_free(self._resume)
            return
        self._fallback.cancel()
        self._fallback = None
        self._serve_halfway()

    def _try_descriptor(self) -> None:
        """Raises OSError if there is none left. 0.3 us, of the 100 that a connection costs."""
        os.close(os.dup(self._socket.fileno()))

    def _serve_halfway(self) -> None:
        if self._halfway is not None:
            (client, peer), self._halfway = self._halfway, None
            self._accepted(client, peer, self.address)
