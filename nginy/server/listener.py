"""Accepting what waits at a listening socket."""

import errno
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any

from nginy.address import Address, ipv4_or_ipv6
from nginy.complaints import Complaints
from nginy.engine.descriptors import first_reserved, try_descriptor
from nginy.engine.poller import Poller
from nginy.engine.timers import Timer, TimerWheel

Accepted = Callable[[socket.SocketType, Address, Address], None]
"""Takes the connection, its peer, and the address it was accepted on."""

ACCEPTS_PER_TURN = 64
ACCEPT_S = 0.001
"""And no further one once this has passed: with its backend's connect one may take 0.1 ms."""
FALLBACK_S = 0.2
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger(__name__)
complaints = Complaints(log)


def _ipv4(peer: tuple[Any, ...]) -> Address:
    return Address(*peer)


class Listener:
    """Accepts connections from one listening socket, as long as there are descriptors for them.

    A connection takes two, its own and one towards its backend. When there are none, or only the
    reserved ones (`nginy/engine/descriptors.py`), those that wait stay in the kernel's queue until
    a connection closes.
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
        self._first_reserved = first_reserved()
        self._family = sock.family
        self._who = ipv4_or_ipv6 if sock.family == socket.AF_INET6 else _ipv4
        self._halfway: tuple[socket.SocketType, Address] | None = None
        """Accepted with the last descriptor: none is left towards its backend."""
        self._fallback: Timer | None = None
        """Set while accepting pauses."""
        self._open = True
        poller.watch_listener(sock, self._accept)

    @property
    def sock(self) -> socket.socket:
        """For who takes it over."""
        return self._socket

    def close(self) -> None:
        """Accept no more; what waits in the kernel's queue is reset, unless a successor has it."""
        if not self._open:
            return
        self._open = False
        if self._fallback is None:
            # A successor's copy would keep it in our epoll: close(2) takes out only the last one.
            self._poller.unwatch(self._socket)
        else:
            self._fallback.cancel()
        self._poller.close(self._socket)
        self._serve_halfway()

    def _accept(self, _events: int) -> None:
        if self._poller.crowded:
            return  # those that are in come first; the others wait in the kernel's queue
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
                self._halfway = client, self._who(peer)
                self._pause(error)
                return
            self._accepted(client, self._who(peer), self.address)
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
        """Raises OSError if there is none left that a connection may have."""
        if not try_descriptor(self._socket.fileno(), self._first_reserved):
            raise OSError(errno.EMFILE, "the last ones are kept for checks and the operator")

    def _serve_halfway(self) -> None:
        if self._halfway is not None:
            (client, peer), self._halfway = self._halfway, None
            self._accepted(client, peer, self.address)
