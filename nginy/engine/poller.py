"""One epoll for all sockets of the data plane, driven by the event loop through a single reader.

Why not `loop.add_reader` per socket: two registrations, their handles and a queue entry per event
cost more than the whole pick (5.5-6.2 k new connections/s against 7.4-8.3 k for a bare epoll).
The event loop keeps what is rare: signals, timers, the log.

Rules of this file:
1. Sockets are watched edge-triggered: whoever gets an event reads or writes until the kernel says
   "no more" (EAGAIN, or less than asked for), or asks for another turn with `run_soon`.
2. A socket is closed through `close`, once the batch of events is handled: a descriptor number must
   not come back while events of its former owner are still in it.
3. What may take long (bulk transfers, many ends at once) is cut into turns of well under a
   millisecond, asked for by `run_soon`. They share DUE_S between two looks at the sockets, so
   however many there are, nobody's event waits for more than that and a batch of events.
"""

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

Handler = Callable[[int], None]
"""Takes the epoll events of one socket (a bit mask)."""

READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR
SHORT_READS = GONE | select.EPOLLRDHUP | select.EPOLLPRI
"""A read may give less than there is: it stops short of the end, and of urgent data."""

EVENTS_PER_TURN = 256
TURNS_PER_DISPATCH = 4
"""Batches handled before the event loop gets its turn: saves its bookkeeping under load."""
DISPATCH_S = 0.002
"""And no further batch once this has passed."""
DUE_S = 0.002
"""For the turns that are due, after each batch."""


class Poller:
    """Watches sockets and calls their handlers."""

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`call_soon` is the event loop's; the caller adds `fileno` and `dispatch` as a reader."""
        self._clock = clock
        self.now = clock()
        """When the present turn began (seconds): spares a clock reading per event.

        For handlers only: outside of a turn it is old.
        """
        self._epoll = select.epoll()
        self._call_soon = call_soon
        self._handlers: dict[int, Handler] = {}
        self._soon: deque[Callable[[float], None]] = deque()
        self._closing: list[socket.SocketType] = []
        self._wanting_descriptors: dict[Callable[[], object], None] = {}
        self._scheduled = False

    def fileno(self) -> int:
        """The epoll's own descriptor: readable when a watched socket has an event."""
        return self._epoll.fileno()

    @property
    def watched(self) -> int:
        """Sockets watched now."""
        return len(self._handlers)

    def watch(self, sock: socket.SocketType, handler: Handler, events: int = READABLE) -> None:
        """Call `handler` on every edge of `events`, the present state counting as the first."""
        fd = sock.fileno()
        self._epoll.register(fd, events | select.EPOLLET)
        self._handlers[fd] = handler

    def watch_listener(self, sock: socket.SocketType, handler: Handler) -> None:
        """Call `handler` as long as connections wait (level-triggered: it may leave some)."""
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._handlers[sock.fileno()] = handler

    def hand_over(self, sock: socket.SocketType, handler: Handler) -> None:
        """Replace the handler of a watched socket."""
        self._handlers[sock.fileno()] = handler

    def want_write(self, sock: socket.SocketType) -> None:
        """Report writability too, from now on, and at once if it is writable already."""
        self._epoll.modify(sock.fileno(), READABLE | WRITABLE | select.EPOLLET)

    def unwatch(self, sock: socket.SocketType) -> None:
        """Stop calling the handler; the socket stays open."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def close(self, sock: socket.SocketType) -> None:
        """No handler call from now on; closed after this batch of events (rule 2)."""
        self._handlers.pop(sock.fileno(), None)
        self._closing.append(sock)
        if not self._scheduled:
            self._schedule()

    def run_soon(self, callback: Callable[[float], None]) -> None:
        """Call `callback` with the turn's time, once the sockets that are ready now have had their
        turn, and those who have asked before: rule 3."""
        self._soon.append(callback)
        if not self._scheduled:
            self._schedule()

    def when_descriptors_come_free(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, however often it was asked for, at the end of the turn that closes
        a socket next."""
        self._wanting_descriptors[callback] = None

    def dispatch(self) -> None:
        """Handle what is ready."""
        began = self._clock()
        for _ in range(TURNS_PER_DISPATCH):
            events = self._epoll.poll(0, EVENTS_PER_TURN)
            self._handle(events)
            if self._soon:
                self._take_due_turns()
            elif not events:
                break
            if self._clock() - began > DISPATCH_S:
                break
        if self._soon and not self._scheduled:
            self._schedule()

    def shut(self) -> None:
        """Close what waits to be closed, and the epoll."""
        self._close_closing()
        self._epoll.close()

    def _handle(self, events: list[tuple[int, int]]) -> None:
        self.now = self._clock()
        handlers = self._handlers
        for fd, mask in events:
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    handler(mask)
                except Exception:  # the others' events would not come again
                    log.exception("a fault of nginy while a socket was handled")
        if self._closing:
            self._close_closing()

    def _take_due_turns(self) -> None:
        """In the order in which they were asked for, as many as there is time for, at least one;
        what they ask for is at the end of the line. What a turn closes counts as its time."""
        soon, clock = self._soon, self._clock
        until = clock() + DUE_S
        while soon:
            callback = soon.popleft()
            try:
                callback(self.now)
            except Exception:
                log.exception("a fault of nginy in a turn that was due")
            if self._closing:
                self._close_closing()
            if clock() >= until:
                return

    def _close_closing(self) -> None:
        for sock in self._closing:
            sock.close()
        self._closing.clear()
        if self._wanting_descriptors:
            wanting, self._wanting_descriptors = self._wanting_descriptors, {}
            for callback in wanting:
                callback()

    def _schedule(self) -> None:
        self._scheduled = True
        self._call_soon(self._scheduled_dispatch)

    def _scheduled_dispatch(self) -> None:
        self._scheduled = False
        if not self._epoll.closed and (self._soon or self._closing):
            self.dispatch()
