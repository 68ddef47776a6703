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
4. Who is new steps back in a crowd: beyond AT_ONCE events of a batch, those of connections that
   have carried no answer yet (`grown`) are put off, and share DUE_S in the same way. The kernel
   reports sockets in order: of 4 000 that arrive together, an old one waited for all (40 ms).
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
AT_ONCE = 16
"""Events of a batch that are handled whosoever they are."""
TURNS_PER_DISPATCH = 4
"""Batches handled before the event loop gets its turn: saves its bookkeeping under load."""
DISPATCH_S = 0.002
"""And no further batch once this has passed."""
DUE_S = 0.002
"""For the turns that are due, after each batch."""
CATCH_UP_S = 0.001
"""Of them, the one for events that were put off."""


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
        self._young: set[int] = set()
        """Descriptors of connections without an answer so far."""
        self._put_off: dict[int, int] = {}
        """Their events that wait, first come, first served: descriptor and mask."""
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
        self._young.add(fd)

    def grown(self, sock: socket.SocketType) -> None:
        """Put its events off no more (rule 4)."""
        self._young.discard(sock.fileno())

    @property
    def crowded(self) -> bool:
        """Whether so many new ones have come that no more should be let in for now."""
        return len(self._put_off) >= AT_ONCE

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
        if self._forgotten(sock.fileno()):
            self._epoll.unregister(sock.fileno())

    def close(self, sock: socket.SocketType) -> None:
        """No handler call from now on; closed after this batch of events (rule 2)."""
        self._forgotten(sock.fileno())
        self._closing.append(sock)
        if not self._scheduled:
            self._schedule()

    def _forgotten(self, fd: int) -> bool:
        """Whether it was watched; it has no events any more."""
        self._young.discard(fd)
        if self._put_off:
            self._put_off.pop(fd, None)
        return self._handlers.pop(fd, None) is not None

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
        if self._put_off or (self._young and len(events) > AT_ONCE):
            events = self._of_the_old(events)
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

    def _of_the_old(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those to handle at once; the others are put off."""
        young, put_off = self._young, self._put_off
        at_once: list[tuple[int, int]] = []
        for fd, mask in events:
            if fd in put_off or (fd in young and (put_off or len(at_once) >= AT_ONCE)):
                if not put_off:
                    self.run_soon(self._catch_up)
                put_off[fd] = put_off.get(fd, 0) | mask
            else:
                at_once.append((fd, mask))
        return at_once

    def _catch_up(self, _now: float) -> None:
        """Handle some of what was put off; as many as there is time for."""
        put_off, until = self._put_off, self._clock() + CATCH_UP_S
        while put_off:
            fd = next(iter(put_off))
            mask = put_off.pop(fd)
            handler = self._handlers.get(fd)
            if handler is not None:
                try:
                    handler(mask)
                except Exception:
                    log.exception("a fault of nginy while a socket was handled")
            if self._clock() >= until:
                break
        if put_off:
            self.run_soon(self._catch_up)

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
