"""One attempt to reach one backend."""

import errno
import logging
import os
import select
import socket
import time

from nginy.address import Address
from nginy.complaints import Complaints
from nginy.engine.poller import READABLE, WRITABLE, Poller
from nginy.engine.strand import Strand, suspended
from nginy.engine.timers import TimerWheel
from nginy.errors import BackendError
from nginy.traffic.close_reason import CloseReason, ConnectionEnd

log = logging.getLogger(__name__)

OWN_FAULTS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Not EADDRNOTAVAIL: local ports run out towards one backend, and others can still be reached."""


async def connect(
    strand: Strand, poller: Poller, wheel: TimerWheel, address: Address, timeout_s: float
) -> tuple[socket.socket, int]:
    """A connected, non-blocking socket, watched by `poller`, and the events it reported.

    Raises BackendError (refused, unreachable, timed out), or ConnectionEnd where trying another
    backend is no use (no resources); no socket is left then.
    """
    sock = begin(address)
    try:
        poller.watch(sock, strand.resume, READABLE | WRITABLE)
        timer = wheel.add(time.monotonic() + timeout_s, lambda now: strand.resume(0))
        try:
            events: int = await suspended()
        finally:
            timer.cancel()
        if events == 0:
            raise BackendError(f"no answer within {timeout_s * 1e3:.0f} ms")
        if events & select.EPOLLERR:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            raise BackendError(os.strerror(code))
    except BaseException:
        poller.close(sock)
        raise
    return sock, events


def begin(address: Address) -> socket.socket:
    """A socket whose connection to `address` is under way. Raises as `connect` does."""
    sock = _socket_for(address)
    try:
        code = sock.connect_ex(address.sockaddr)
    except socket.gaierror as error:  # fe80::1%eth7, and there is no such interface
        sock.close()
        raise BackendError(error.strerror) from error
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    if code in OWN_FAULTS:
        raise ConnectionEnd(CloseReason.NO_RESOURCES)
    if code == errno.EADDRNOTAVAIL:
        port_shortage.noticed(address, time.monotonic())
    raise BackendError(_connect_error(code))


def local_address(sock: socket.socket) -> Address | None:
    """The address that the other end sees; None for a Unix socket, which has none."""
    name = sock.getsockname()  # not sock.family, which looks up an enum each time
    return Address(name[0], name[1]) if isinstance(name, tuple) else None


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


def _socket_for(address: Address) -> socket.socket:
    family = address.family
    if family == socket.AF_UNSPEC:
        raise BackendError("its name is not resolved")
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:  # a host without IPv6
            raise BackendError(error.strerror) from error
        raise ConnectionEnd(CloseReason.NO_RESOURCES) from error
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect_error(code: int) -> str:
    # What a Unix socket says instead of making the client wait.
    return "its queue of connections is full" if code == errno.EAGAIN else os.strerror(code)
