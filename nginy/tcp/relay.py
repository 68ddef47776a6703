"""The life of an established pair of connections: who is read when, half-close, timeouts, the end.

Each direction is open until its source has sent FIN (which is passed on) or an end is lost:

    event            then
    -----            ----
    FIN              FIN to the other side, once all is delivered; both directions: completed
    client lost      over: what it had sent is offered to the backend once more, an answer has
                     no reader
    backend lost     nothing more is sent to it, but what it said is still delivered: a last answer
                     ("413", then RST because of unread bytes) reaches the client, however slow

The peer of a lost side gets an ordinary close, as from nginx and HAProxy: an RST would make its
kernel throw away what it has not read yet.

A direction with a rate pauses while its bucket is empty: its source is not read, and a timer
resumes it.

The clock and the movers are handed in, so the table above is tested without a socket.
"""

import logging
import socket
from collections.abc import Callable
from functools import partial
from select import EPOLLERR, EPOLLRDHUP

from nginy.engine.movers import UNLIMITED, Mover, PacedMover, Stop
from nginy.engine.poller import GONE, READABLE, SHORT_READS, WRITABLE, Poller
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.rate import NO_LIMIT, Rates, TokenBucket
from nginy.traffic.rule import Limits
from nginy.traffic.scheduler import Timer, Timers

log = logging.getLogger(__name__)

MakeMover = Callable[[socket.SocketType, socket.SocketType], Mover]
"""Takes source and sink."""


class Direction:
    """One way: its mover and how far it got."""

    __slots__ = (
        "blocked",
        "bucket",
        "fin_seen",
        "mover",
        "open",
        "pause",
        "sink",
        "to_end",
        "turn_is_due",
    )

    def __init__(self, mover: Mover, sink: socket.SocketType) -> None:
        """Open, with nothing known of the source."""
        self.mover = mover
        self.sink = sink
        self.bucket: TokenBucket | None = None
        self.pause: Timer | None = None
        """Until the bucket has something again."""
        self.open = True
        self.blocked = False
        """Waiting for the sink to become writable."""
        self.to_end = False
        """The source has ended, or sends urgent data: read on until there is nothing more."""
        self.fin_seen = False
        """The source has ended, and sent no urgent data."""
        self.turn_is_due = False
        """It has asked for another turn. One at a time: every further event would add one."""

    def pace(self, bytes_per_s: float, clock: Callable[[], float]) -> None:
        """Be no faster than that; 0: no limit."""
        self.bucket = TokenBucket.of(bytes_per_s, clock())
        if self.bucket is not None:
            self.mover = PacedMover(self.mover, self.bucket, clock)


class Relay:
    """Two directions between a client and a backend, both watched by `poller` already.

    `up` is client to backend, `down` the other way. `over` is called once, with the reason; the
    sockets are the caller's to close.
    """

    __slots__ = (
        "_active_at",
        "_backend_is_reset",
        "_client",
        "_clock",
        "_first_byte_passed",
        "_limits",
        "_on_first_byte",
        "_over",
        "_poller",
        "_timers",
        "_upstream",
        "down",
        "reason",
        "up",
    )

    def __init__(
        self,
        poller: Poller,
        timers: Timers,
        client: socket.SocketType,
        upstream: socket.SocketType,
        mover: MakeMover,
        limits: Limits,
        rates: Rates,
        clock: Callable[[], float],
        now: float,
        on_first_byte: Callable[[float], None],
    ) -> None:
        """Nothing moves before `start`, at about `now`. `clock` gives monotonic seconds;
        `on_first_byte` is told when the backend's first byte was passed on."""
        self._poller = poller
        self._timers = timers
        self._client = client
        self._upstream = upstream
        self._limits = limits
        self._clock = clock
        self._over: Callable[[CloseReason], None] | None = None
        self._on_first_byte = on_first_byte
        self._first_byte_passed = False
        self._active_at = now
        self._backend_is_reset = False
        self.up = Direction(mover(client, upstream), upstream)
        self.down = Direction(mover(upstream, client), client)
        if rates != NO_LIMIT:
            self.up.pace(rates.upload_bytes_per_s, clock)
            self.down.pace(rates.download_bytes_per_s, clock)
        self.reason: CloseReason | None = None

    def start(
        self, client_events: int, upstream_events: int, over: Callable[[CloseReason], None]
    ) -> CloseReason | None:
        """Act on the events seen so far, then on what the poller reports.

        Gives the reason if it is over already; `over` is not called then.
        """
        if client_events:
            self.on_client(client_events)
        if upstream_events & ~WRITABLE and self.reason is None:
            self.on_upstream(upstream_events)
        if self.reason is None:
            self._over = over
            self._poller.hand_over(self._client, self.on_client)
            self._poller.hand_over(self._upstream, self.on_upstream)
        return self.reason

    def on_client(self, events: int) -> None:
        """Handle the client's events."""
        up, down = self.up, self.down
        try:
            if events & SHORT_READS:
                up.to_end = True
                up.fin_seen = events & SHORT_READS == EPOLLRDHUP
            if events & READABLE and up.open and not (up.blocked or up.turn_is_due):
                self._run(up)
            if events & GONE and down.open:
                self._finish(CloseReason.CLIENT_RESET)
            elif events & WRITABLE and down.blocked:
                self._run(down)
        except Exception:
            self._broken()

    def on_upstream(self, events: int) -> None:
        """Handle the backend's events."""
        up, down = self.up, self.down
        try:
            if events & SHORT_READS:
                down.to_end = True
                down.fin_seen = events & SHORT_READS == EPOLLRDHUP
                if events & GONE and up.open:
                    # A Unix socket that is closed hangs up at once, without an error; TCP's says
                    # FIN.
                    self._backend_lost(reset=bool(events & EPOLLERR))
            if events & READABLE and down.open and not (down.blocked or down.turn_is_due):
                self._run(down)
            if events & WRITABLE and up.blocked:
                self._run(up)
        except Exception:
            self._broken()

    def carried(self) -> tuple[int, int]:
        """Bytes delivered so far, up and down."""
        return self.up.mover.moved, self.down.mover.moved

    def close(self) -> None:
        """Free what the movers hold; a turn that is due already (`run_soon`) does nothing more."""
        for direction in (self.up, self.down):
            direction.open = False
            direction.mover.close()
            if direction.pause is not None:
                direction.pause.cancel()

    def check(self, now: float) -> float | None:
        """End the relay if it was idle too long; else when to ask again.

        Asks at least once per half-closed timeout, so a half-close needs no timer of its own.
        """
        if self.reason is not None:
            return None
        if self.up.pause or self.down.pause:  # our own doing is no silence
            self._active_at = now
        half_closed = not (self.up.open and self.down.open)
        limit = self._limits.half_closed_s if half_closed else self._limits.idle_s
        deadline = self._active_at + limit
        if deadline > now:
            return min(deadline, now + min(self._limits))
        self._finish(CloseReason.HALF_CLOSED_TIMEOUT if half_closed else CloseReason.IDLE_TIMEOUT)
        return None

    def _run(self, direction: Direction) -> None:
        self._active_at = self._poller.now
        direction.blocked = False
        stop = direction.mover.move(direction.to_end, UNLIMITED, direction.fin_seen)
        if not self._first_byte_passed and self.down.mover.moved:
            self._first_byte_passed = True
            self._on_first_byte(self._clock())
        if stop is Stop.DRAINED:
            return
        if stop is Stop.BLOCKED:
            direction.blocked = True
            self._poller.want_write(direction.sink)
        elif stop is Stop.UNFINISHED:
            direction.mover = direction.mover.for_bulk()
            self._ask_for_a_turn(direction)
        elif stop is Stop.PACED:
            self._pause(direction)
        else:
            self._end(direction, stop)

    def _ask_for_a_turn(self, direction: Direction) -> None:
        if not direction.turn_is_due:
            direction.turn_is_due = True
            self._poller.run_soon(partial(self._take_turn, direction))

    def _take_turn(self, direction: Direction, now: float) -> None:
        direction.turn_is_due = False
        self._go_on(direction)

    def _pause(self, direction: Direction) -> None:
        if direction.pause is None and direction.bucket is not None:
            ready_at = direction.bucket.ready_at(1)
            direction.pause = self._timers.add(ready_at, partial(self._resume, direction))

    def _resume(self, direction: Direction, now: float) -> None:
        direction.pause = None
        self._go_on(direction)
        self._active_at = now  # the poller's time is that of its last turn

    def _go_on(self, direction: Direction) -> None:
        if self.reason is None and direction.open and not direction.blocked:
            try:
                self._run(direction)
            except Exception:
                self._broken()

    def _end(self, direction: Direction, stop: Stop) -> None:
        if stop is Stop.FIN:
            self._pass_on_fin(direction)
        elif (direction is self.up) == (stop is Stop.SOURCE_LOST):
            self._finish(CloseReason.CLIENT_RESET)
        elif direction is self.down:
            self._finish(CloseReason.BACKEND_RESET)
        else:
            self._backend_lost()

    def _pass_on_fin(self, direction: Direction) -> None:
        direction.open = False
        if not (self.up.open or self.down.open):
            self._finish(
                CloseReason.BACKEND_RESET if self._backend_is_reset else CloseReason.COMPLETED
            )
            return
        try:
            direction.sink.shutdown(socket.SHUT_WR)
        except OSError:  # lost meanwhile: its own event says so
            return

    def _backend_lost(self, *, reset: bool = True) -> None:
        self._backend_is_reset = reset
        self.up.open = self.up.blocked = False
        self.down.to_end = True
        if not self.down.open:
            self._finish(CloseReason.BACKEND_RESET if reset else CloseReason.COMPLETED)
        elif not self.down.blocked:
            self._run(self.down)

    def _broken(self) -> None:
        """A fault of nginy: an edge was lost with it, so this connection would wait for ever."""
        log.exception("a connection was lost by a fault of nginy")
        self._finish(CloseReason.INTERNAL_ERROR)

    def _finish(self, reason: CloseReason) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        for direction in (self.up, self.down):
            direction.open = direction.blocked = False
        if self._over is not None:
            self._over(reason)
