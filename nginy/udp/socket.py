"""The kernel's side of UDP: who sent a datagram to which of our addresses, and errors by ICMP.

Constants that Python's socket module lacks are Linux's (ip(7), ipv6(7), socket(7),
linux/sock_diag.h).
"""

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from nginy.address import Address, ipv4_or_ipv6

BUFFER_BYTES = 65_536
"""More than UDP's length field allows (65 507 bytes over IPv4, 65 527 over IPv6): nothing that
arrives is ever cut short."""

DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK

IP_PKTINFO = 8
IP_RECVERR = 11
IPV6_RECVERR = 25
SO_RCVBUFFORCE = 33
SO_MEMINFO = 55
MEMINFO = struct.Struct("9I")
MEMINFO_DROPS = 8

BACKEND_FAULTS = {
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
    errno.ENOPROTOOPT,
}
"""What ICMP says of a backend. All else (EMSGSIZE: larger than the path takes) concerns only the
one datagram."""
OWN_FAULTS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ENOSPC,
}
"""No descriptor or memory for a socket towards a backend, no local port left (EAGAIN), no more
sockets to be watched (ENOSPC, epoll_ctl(2)). Not EADDRNOTAVAIL: the host has no address of the
backend's family, and others can still be reached."""
EVICTION_HELPS = OWN_FAULTS - {errno.ENOBUFS, errno.ENOMEM}
"""A session that ends gives back what is missing."""

Receive = Callable[[bytearray], tuple[int, "Key"]]
"""Reads one datagram into the buffer; gives its size and sender. Raises OSError."""
Key = Any
"""Who sent a datagram to which of our addresses: hashable, and opaque outside of its socket."""
Reply = Callable[[memoryview], int]
"""Sends a datagram to a client; raises OSError as `socket.send` does."""


class ClientSocket(Protocol):
    """A listening socket that knows which of our addresses a client used."""

    @property
    def receive(self) -> Receive:
        """Reads what was sent by anybody."""

    def of_one(self, key: Key) -> tuple[socket.SocketType, Receive]:
        """A socket that gets what this sender sends from now on, whoever else is bound to the port.
        Raises OSError; the socket is the caller's."""

    def reply(self, key: Key) -> Reply:
        """How to answer that sender, from the address that it used."""

    def client(self, key: Key) -> Address:
        """The sender."""

    def local(self, key: Key) -> Address:
        """Our address that the sender used."""


def client_socket(sock: socket.socket, address: Address) -> ClientSocket:
    """The right kind for a socket that is bound to `address`."""
    wildcard = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}[address.family]
    return WildcardSocket(sock, address) if address.host == wildcard else BoundSocket(sock, address)


class BoundSocket:
    """Bound to one address: all senders used that one. The key is the sender's socket address."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        """`sock` stays the caller's."""
        self._address = address
        self._sendto = sock.sendto
        self.receive: Receive = sock.recvfrom_into

    def of_one(self, key: Key) -> tuple[socket.SocketType, Receive]:
        """See `ClientSocket`."""
        sock = _connected_to_client(self._address, key)
        return sock, sock.recvfrom_into

    def reply(self, key: Key) -> Reply:
        """See `ClientSocket`."""
        sendto = self._sendto
        return lambda datagram: sendto(datagram, key)

    def client(self, key: Key) -> Address:
        """See `ClientSocket`."""
        return Address(key[0], key[1])

    def local(self, key: Key) -> Address:
        """See `ClientSocket`."""
        return self._address


class WildcardSocket:
    """Bound to all addresses of a family. The key also has the one that the sender used, which the
    kernel tells with each datagram (IP_PKTINFO, IPV6_PKTINFO; the latter RFC 3542)."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        """`sock` stays the caller's."""
        self._port = address.port
        self._family = address.family
        self._recvmsg_into = sock.recvmsg_into
        self._sendmsg = sock.sendmsg
        if self._family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._kind = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
            self._info = struct.Struct("@16sI")  # in6_pktinfo: address, interface
            self._local = slice(0, 16)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._kind = (socket.IPPROTO_IP, IP_PKTINFO)
            self._info = struct.Struct("@I4s4s")  # in_pktinfo: interface, local, destination
            self._local = slice(4, 8)
        self._space = socket.CMSG_SPACE(self._info.size)

    def receive(self, buffer: bytearray) -> tuple[int, Key]:
        """See `ClientSocket`."""
        size, ancillary, _flags, sender = self._recvmsg_into((buffer,), self._space)
        return size, (sender, ancillary[0][2][self._local])

    def of_one(self, key: Key) -> tuple[socket.SocketType, Receive]:
        """See `ClientSocket`."""
        local = Address(socket.inet_ntop(self._family, key[1]), self._port)
        sock = _connected_to_client(local, key[0])

        def receive(buffer: bytearray) -> tuple[int, Key]:
            size, sender = sock.recvfrom_into(buffer)
            return size, (sender, key[1])

        return sock, receive

    def reply(self, key: Key) -> Reply:
        """See `ClientSocket`."""
        sender, local = key
        # Interface 0: the routes decide (that of a link-local address is in the sender's).
        packed = (local, 0) if self._family == socket.AF_INET6 else (0, local, bytes(4))
        ancillary = [(*self._kind, self._info.pack(*packed))]
        sendmsg = self._sendmsg
        return lambda datagram: sendmsg((datagram,), ancillary, 0, sender)

    def client(self, key: Key) -> Address:
        """See `ClientSocket`."""
        return ipv4_or_ipv6(key[0])

    def local(self, key: Key) -> Address:
        """See `ClientSocket`."""
        return ipv4_or_ipv6((socket.inet_ntop(self._family, key[1]), self._port))


def _connected_to_client(local: Address, client: tuple[Any, ...]) -> socket.SocketType:
    sock = socket.SocketType(local.family, DATAGRAM)
    try:
        let_share_port(sock)
        sock.bind((*local, *client[2:]))  # IPv6: with the interface of a link-local address
        sock.connect(client)
    except BaseException:
        sock.close()
        raise
    return sock


def let_share_port(sock: socket.SocketType, *, share: bool = True) -> None:
    """Whether a socket that also allows it may be bound to the same port. The kernel gives a
    datagram to the socket connected to its sender if there is one, else to the one bound last."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, share)


def open_upstream(address: Address, receive_buffer_bytes: int) -> socket.SocketType:
    """A non-blocking socket connected to a backend; `receive_buffer_bytes` 0 leaves the kernel's
    default. Raises OSError.

    With errors told in full (IP_RECVERR), a host that is gone is known once the kernel has given
    up asking for its link address: 3.2 s in a test; otherwise only "port unreachable" is told.
    """
    family = address.family
    sock = socket.SocketType(family, DATAGRAM)  # as in nginy/engine/dial.py
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if receive_buffer_bytes:
            enlarge_receive_buffer(sock, receive_buffer_bytes)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def forget_errors(sock: socket.SocketType) -> None:
    """Empty the error queue: while something is in it, the socket is reported as ready."""
    with suppress(OSError):
        while True:
            sock.recvmsg(0, 0, socket.MSG_ERRQUEUE)
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def enlarge_receive_buffer(sock: socket.SocketType, size_bytes: int) -> None:
    """Ask for a receive buffer of `size_bytes`. More than net.core.rmem_max takes CAP_NET_ADMIN;
    without it there is as much as allowed."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)


def receive_buffer_bytes(sock: socket.SocketType) -> int:
    """What was granted: the kernel says twice that, for its own overhead."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def kernel_drops(sock: socket.SocketType) -> int:
    """Datagrams dropped since the socket was made because its receive buffer was full.

    The counter of SO_RXQ_OVFL, asked for now and then instead of carried by every datagram.
    """
    info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size)
    return int(MEMINFO.unpack(info)[MEMINFO_DROPS])
