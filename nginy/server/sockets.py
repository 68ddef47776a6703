"""Listening sockets: bound, given by systemd, or taken over from a predecessor."""

import errno
import logging
import os
import socket
from collections.abc import Mapping

from nginy.address import Address
from nginy.config.model import Protocol
from nginy.errors import NginyError
from nginy.server.bind_faults import bind_fault_text, holders
from nginy.server.handover import Place, Takeover, opened_as
from nginy.udp.socket import enlarge_receive_buffer, let_share_port, receive_buffer_bytes

BACKLOG = 4096
"""The kernel lowers it to net.core.somaxconn; a queue too short makes clients wait 1 s or more."""
FIRST_GIVEN = 3
"""Descriptor of the first socket that systemd gives (sd_listen_fds(3))."""
FAMILIES = (socket.AF_INET, socket.AF_INET6)

log = logging.getLogger(__name__)


class ListenError(NginyError):
    """An address cannot be listened to."""


class ListeningSockets:
    """Where a process has its listening sockets from. To be closed once all are there.

    What systemd gave (socket activation) comes first: it keeps such sockets while services stop and
    start. What is bound already is asked of a predecessor that is stopping (`handover.py`): what
    waits in the queue of a socket taken over stays there. All else is bound.
    """

    def __init__(self, dual_stack: bool, given: Mapping[Place, socket.socket]) -> None:
        """`dual_stack`: IPv6 sockets take IPv4, too. `given` is owned from now on."""
        self._dual_stack = dual_stack
        self._given = dict(given)
        self._takeover: Takeover | None = None

    def tcp(self, address: Address, rules: list[str]) -> socket.socket:
        """A non-blocking listening socket. Raises ListenError naming the address and `rules`."""
        sock = self._found("tcp", address, rules)
        # Accepted sockets inherit it on Linux: one system call less per connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def udp(self, address: Address, rules: list[str], buffer_bytes: int) -> socket.socket:
        """A non-blocking UDP socket; `buffer_bytes` 0 leaves the kernel's default.

        Raises ListenError naming the address and `rules`.
        """
        sock = self._found("udp", address, rules)
        if buffer_bytes:
            _enlarge(sock, address, buffer_bytes)
        return sock

    @property
    def taken_over(self) -> bool:
        """Whether any is a predecessor's."""
        return self._takeover is not None and self._takeover.taken

    def serving(self) -> None:
        """All are there: a predecessor whose sockets were taken over stops accepting."""
        if self._takeover is not None:
            self._takeover.confirm()
        for protocol, address in self._given:
            log.warning("%s (%s): a socket was given, and no rule uses it", address, protocol)

    def close(self) -> None:
        """Let go of what nobody asked for; a predecessor that was not told `serving` goes on."""
        if self._takeover is not None:
            self._takeover.close()
        for sock in self._given.values():
            sock.close()
        self._given.clear()

    def _found(self, protocol: Protocol, address: Address, rules: list[str]) -> socket.socket:
        given = self._given.pop((protocol, address), None)
        if given is not None:
            log.info("%s (%s): the socket was given", address, protocol)
            return given
        try:
            return self._bound(protocol, address)
        except OSError as error:
            which = "" if protocol == "tcp" else " (udp)"
            raise ListenError(
                f"cannot listen on {address}{which}, needed by {', '.join(rules)}: "
                f"{bind_fault_text(error, address, protocol)}"
            ) from error

    def _bound(self, protocol: Protocol, address: Address) -> socket.socket:
        try:
            return bind(protocol, address, dual_stack=self._dual_stack)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            taken = self._taken_over((protocol, address))
            if taken is not None:
                return taken
            if protocol == "tcp":
                raise
        return bind(protocol, address, dual_stack=self._dual_stack, share=True)

    def _taken_over(self, place: Place) -> socket.socket | None:
        if self._takeover is None:
            self._takeover = Takeover()
        v6only = place[1].family == socket.AF_INET6 and not self._dual_stack
        return self._takeover.take(place, v6only=v6only)


def bind(
    protocol: Protocol, address: Address, *, dual_stack: bool = False, share: bool = False
) -> socket.socket:
    """A non-blocking socket that listens. Raises OSError.

    IPv6 sockets take IPv6 only unless `dual_stack`, so that both families can have the same port.
    `share` a UDP port with who allows that, as a predecessor does that drains.
    """
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(address.family, kind | socket.SOCK_NONBLOCK)
    try:
        if address.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        if share:
            _bind_shared(sock, address)
        elif protocol == "udp":
            sock.bind(address)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def given_sockets(environ: Mapping[str, str]) -> dict[Place, socket.socket]:
    """What systemd passes (sd_listen_fds(3)): LISTEN_FDS sockets from descriptor 3 on, if
    LISTEN_PID is this process. One that does not listen, or has no IP address, is left alone."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environ.get("LISTEN_FDS", "")
    found: dict[Place, socket.socket] = {}
    for descriptor in range(FIRST_GIVEN, FIRST_GIVEN + int(count if count.isdigit() else 0)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        place = opened_as(sock) if sock.family in FAMILIES else None
        if place is None:
            log.warning("descriptor %d was given, and is no listening IP socket", descriptor)
            sock.detach()
            continue
        sock.setblocking(False)
        found[place] = sock
    return found


def _bind_shared(sock: socket.socket, address: Address) -> None:
    """Not for longer than to bind: SO_REUSEADDR lets another process take the datagrams."""
    names = ", ".join(holders(address, "udp")) or "another process"
    let_share_port(sock)
    sock.bind(address)
    let_share_port(sock, share=False)
    log.warning("%s (udp): taken over from %s, which lets others have the port", address, names)


def _enlarge(sock: socket.socket, address: Address, buffer_bytes: int) -> None:
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
