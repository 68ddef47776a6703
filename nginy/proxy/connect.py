"""One attempt to reach one backend."""

import errno
import os
import select
import socket
import time

from nginy.address import Address
from nginy.errors import BackendError
from nginy.proxy.close_reason import CloseReason, ConnectionEnd
from nginy.proxy.poller import READABLE, WRITABLE, Poller
from nginy.proxy.strand import Strand, suspended
from nginy.proxy.timers import TimerWheel

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
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise ConnectionEnd(CloseReason.NO_RESOURCES) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        code = sock.connect_ex(address)
    except socket.gaierror as error:  # fe80::1%eth7, and there is no such interface
        sock.close()
        raise BackendError(error.strerror) from error
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    if code in OWN_FAULTS:
        raise ConnectionEnd(CloseReason.NO_RESOURCES)
    raise BackendError(os.strerror(code))
