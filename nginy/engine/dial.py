"""Opening a connection to a backend: the socket, and whose fault it is if there is none."""

import errno
import logging
import os
import socket
import struct
import time

from nginy.address import Address
from nginy.complaints import Complaints
from nginy.errors import BackendError, NoResources

log = logging.getLogger(__name__)

STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK

OWN_FAULTS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Not EADDRNOTAVAIL: local ports run out towards one backend, and others can still be reached."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, of no seconds."""


def dial(address: Address, *, unseen: bool = False) -> socket.SocketType:
    """A non-blocking socket whose connection to `address` is under way.

    `unseen`: only to be closed once it is connected; a server over TCP then does not hear of it.
    Raises BackendError, or NoResources where trying another backend is no use; no socket is left.
    """
    sock = _socket_for(address)
    if unseen and address.family != socket.AF_UNIX:
        # No acknowledgement until there is something to send: the reset goes out in its place.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    try:
        code = sock.connect_ex(address.sockaddr)
    except socket.gaierror as error:  # fe80::1%eth7, and there is no such interface
        sock.close()
        raise BackendError(str(error.strerror), "unresolved") from error
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    if code in OWN_FAULTS:
        raise NoResources(os.strerror(code))
    if code == errno.EADDRNOTAVAIL:
        port_shortage.noticed(address, time.monotonic())
    raise refused(code)


def refused(code: int) -> BackendError:
    """The kernel's word on an attempt to connect, an errno."""
    # EAGAIN: what a Unix socket says instead of making the client wait.
    full = code == errno.EAGAIN
    message = "its queue of connections is full" if full else os.strerror(code)
    return BackendError(message, errno.errorcode.get(code, "error"))


class PortShortage:
    """No source port was free towards a backend: all ports of the range are in use or in TIME-WAIT
    between this host's address and that backend."""

    def __init__(self) -> None:
        """None so far."""
        self.count = 0
        """Attempts that failed for it, in this process."""
        self._complaints = Complaints(log)

    def noticed(self, address: Address, now: float) -> None:
        """An attempt to reach `address` failed for it."""
        self.count += 1
        self._complaints.say(
            str(address),
            now,
            "no source port is free towards %s (or no source address): widen"
            " net.ipv4.ip_local_port_range, set net.ipv4.tcp_tw_reuse=1, or give the backend"
            " another address or port",
            address,
        )


port_shortage = PortShortage()


def _socket_for(address: Address) -> socket.SocketType:
    family = address.family
    if family == socket.AF_UNSPEC:
        raise BackendError("its name is not resolved", "unresolved")
    try:
        # The type below socket.socket, which adds some 2 us of Python to a connection.
        sock = socket.SocketType(family, STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # a host without IPv6
            raise BackendError(str(error.strerror), "EAFNOSUPPORT") from error
        raise NoResources(error.strerror) from error
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
