"""A session's socket towards one backend, and the lease that counts it there."""

import socket
from collections.abc import Callable

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool
from nginy.engine.poller import Poller
from nginy.traffic.service import Service
from nginy.udp.socket import OWN_FAULTS, connect

PROGRESS_S = 1.0
"""How often a balancer that wants progress hears of it while datagrams flow."""


class Link:
    """Open from its making to `close`. Times are seconds, monotonic."""

    __slots__ = (
        "_lease",
        "_poller",
        "_reported_bytes",
        "_reported_s",
        "_wants_progress",
        "backend",
        "began_s",
        "bytes_down",
        "bytes_up",
        "first_byte_s",
        "recv_into",
        "requests",
        "responses",
        "send",
        "sock",
        "undelivered",
    )

    def __init__(
        self,
        poller: Poller,
        pool: BackendPool,
        service: Service,
        backend: Backend,
        ready: Callable[[int], None],
        now: float,
    ) -> None:
        """`ready` is called while answers or errors wait. Raises OSError, which the backend is
        blamed for unless it is one of OWN_FAULTS."""
        self.backend = backend
        self._poller = poller
        self._lease = pool.lease(backend, service.balancer, now)
        try:
            self.sock = self._connect(service.udp.receive_buffer_bytes, ready)
        except OSError as error:
            failed = error.errno not in OWN_FAULTS
            self._lease.release(Outcome(failed=failed), now)
            raise
        self.send = self.sock.send
        self.recv_into = self.sock.recv_into
        self.began_s = now
        self.first_byte_s: float | None = None
        self.requests = self.responses = self.undelivered = 0
        self.bytes_up = self.bytes_down = 0
        self._wants_progress = service.balancer.wants_progress
        self._reported_bytes = 0
        self._reported_s = now

    @property
    def local(self) -> Address:
        """Our address that the backend sees."""
        return Address(*self.sock.getsockname()[:2])

    def sent(self, size: int, now: float) -> None:
        """A datagram of the client went to the backend."""
        self.requests += 1
        self.bytes_up += size
        if self._wants_progress:
            self._report(now)

    def answered(self, size: int, now: float) -> None:
        """A datagram came from the backend; the first one stands for the connection."""
        self.responses += 1
        self.bytes_down += size
        if self.first_byte_s is None:
            self.first_byte_s = now
            self._lease.connected(now - self.began_s, now)
            if self._wants_progress:
                self._lease.first_byte(now - self.began_s, now)
        if self._wants_progress:
            self._report(now)

    def not_delivered(self, size: int) -> None:
        """The answer just counted did not reach the client."""
        self.undelivered += 1
        self.bytes_down -= size

    def not_taken(self, datagrams: list[bytes]) -> None:
        """These, sent and counted before, were refused by the backend."""
        self.requests -= len(datagrams)
        self.bytes_up -= sum(map(len, datagrams))

    def close(self, now: float, *, failed: bool = False, at_once: bool = False) -> None:
        """Give up socket and lease; with `at_once`, the descriptor is free now and not only at the
        end of the turn (its next owner must put up with an event that was meant for this one)."""
        if at_once:
            self._poller.unwatch(self.sock)
            self.sock.close()
        else:
            self._poller.close(self.sock)
        answered_s = None if self.first_byte_s is None else self.first_byte_s - self.began_s
        outcome = Outcome(
            failed=failed,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            duration_s=now - self.began_s,
            connect_s=answered_s,
            first_byte_s=answered_s,
        )
        if self._wants_progress:
            self._tell_bytes(now)
        self._lease.release(outcome, now)

    def _connect(self, receive_buffer_bytes: int, ready: Callable[[int], None]) -> socket.socket:
        sock = connect(self.backend.address, receive_buffer_bytes)
        try:
            # Level-triggered and one read per event: an answer that comes alone, as most do, costs
            # no read in vain (1.1 us with its exception), and nobody keeps others waiting.
            self._poller.watch_listener(sock, ready)
        except BaseException:
            sock.close()
            raise
        return sock

    def _report(self, now: float) -> None:
        if now - self._reported_s >= PROGRESS_S:
            self._tell_bytes(now)

    def _tell_bytes(self, now: float) -> None:
        so_far = self.bytes_up + self.bytes_down
        self._lease.moved(so_far - self._reported_bytes, now)
        self._reported_bytes = so_far
        self._reported_s = now
