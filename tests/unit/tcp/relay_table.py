"""A relay whose sockets, movers, poller and clock are played by a test."""

import socket
import struct
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP

from nginy.engine.movers import UNLIMITED, Stop
from nginy.engine.timers import TimerWheel
from nginy.tcp.relay import Relay
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.rate import NO_LIMIT, Rates
from nginy.traffic.rule import Limits

TICK_S = 0.05
LIMITS = Limits(idle_s=10.0, client_finished_s=2.0, backend_finished_s=1.0)
READ = EPOLLIN
FIN = EPOLLIN | EPOLLRDHUP
RESET = EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP
HUNG_UP = EPOLLIN | EPOLLRDHUP | EPOLLHUP
"""A Unix socket that was closed."""


class End:
    """One side's socket, as far as a relay uses one."""

    fin = False
    """Whether FIN was sent to it."""
    reset = False
    """Whether closing it will reset the connection."""

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.reset = value == struct.pack("ii", 1, 0)

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.fin = True


class Mover:
    """Moves what the test says, and stops for the reason that the test says."""

    def __init__(self) -> None:
        self.moved = self.taken = 0
        self.turns: list[tuple[int, Stop]] = []
        """Bytes and reason of the turns to come; then: DRAINED."""
        self.asked: list[bool] = []
        """`to_end`, of each turn."""
        self.closed = False

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        self.asked.append(to_end)
        size, stop = self.turns.pop(0) if self.turns else (0, Stop.DRAINED)
        if size > limit:
            self.turns.insert(0, (size - limit, stop))
            size, stop = limit, Stop.UNFINISHED
        self.moved += size
        self.taken += size
        return stop

    def for_bulk(self) -> "Mover":
        return self

    def for_messages(self) -> "Mover":
        return self

    def close(self) -> None:
        self.closed = True


class Poller:
    """The part of it that a relay sees."""

    def __init__(self) -> None:
        self.now = 0.0
        self.soon: list[Callable[[float], None]] = []
        self.handlers: dict[object, Callable[[int], None]] = {}
        self.to_be_written: list[object] = []

    def hand_over(self, sock: object, handler: Callable[[int], None]) -> None:
        self.handlers[sock] = handler

    def grown(self, sock: object) -> None:
        pass

    def want_write(self, sock: object) -> None:
        self.to_be_written.append(sock)

    def run_soon(self, callback: Callable[[float], None]) -> None:
        self.soon.append(callback)


class Table:
    """A relay between a client and a backend that are played by the test."""

    def __init__(
        self, rates: Rates = NO_LIMIT, on_first_byte: Callable[[float], None] | None = None
    ) -> None:
        self.client, self.backend = End(), End()
        self.poller = Poller()
        self.wheel = TimerWheel(TICK_S, 0.0)
        self.first_bytes: list[float] = []
        self.ends: list[CloseReason] = []
        self.up, self.down = Mover(), Mover()
        movers = {self.client: self.up, self.backend: self.down}
        self.relay = Relay(
            self.poller,
            self.wheel,
            self.client,
            self.backend,
            lambda source, sink: movers[source],
            LIMITS,
            rates,
            lambda: self.poller.now,
            self.poller.now,
            on_first_byte or self.first_bytes.append,
        )

    def start(self, client_events: int = 0, backend_events: int = 0) -> "Table":
        reason = self.relay.start(client_events, backend_events, self.ends.append)
        if reason is not None:
            self.ends.append(reason)
        return self

    def client_says(self, *turns: tuple[int, Stop], events: int = READ) -> None:
        self.up.turns += turns
        self.poller.handlers[self.client](events)

    def backend_says(self, *turns: tuple[int, Stop], events: int = READ) -> None:
        self.down.turns += turns
        self.poller.handlers[self.backend](events)

    def take_turns(self) -> int:
        """What is due by `run_soon`: how many there were."""
        soon, self.poller.soon = self.poller.soon, []
        for callback in soon:
            callback(self.poller.now)
        return len(soon)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.poller.now += TICK_S
            self.wheel.advance(self.poller.now)

    def stand_still(self, seconds: float) -> None:
        """As the server does, in the tick that comes so late."""
        self.poller.now += seconds
        self.wheel.postpone(seconds, self.poller.now)

    @property
    def fins(self) -> tuple[bool, bool]:
        """Sent to the client, to the backend."""
        return self.client.fin, self.backend.fin
