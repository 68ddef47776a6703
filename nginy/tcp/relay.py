"""The life of an established pair of connections: who is read when, half-close, timeouts, the end.

Each direction is open until its source has sent FIN (which is passed on) or an end is lost:

    event            then
    -----            ----
    FIN              FIN to the other side, once all is delivered; both directions: completed
    client lost      over: what it had sent is offered to the backend once more, an answer has
                     no reader; then RST to the backend, which must not take a broken upload for
                     a whole one (as HAProxy does)
    backend lost     nothing more is sent to it, but what it said is still delivered: a last answer
                     ("413", then RST because of unread bytes) reaches the client, however slow

The client of a lost backend gets an ordinary close, as from nginx: an RST would make many a kernel
throw away that last answer. The same holds for a backend whose client was only slow or silent.

A direction that has become a bulk transfer has its turns after the sockets' events, in line with
the others (`Poller.run_soon`); messages are moved at once.

A direction with a rate pauses while its bucket is empty: its source is not read, and a timer
resumes it.

The clock and the movers are handed in, so the table above is tested without a socket.
"""

import logging
import socket
import struct
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
MESSAGE_BYTES = 16 * 1024
"""What moves less from one time that it runs dry to the next is no bulk transfer any more."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 s."""


class Direction:
    """One way: its mover and how far it got."""

    __slots__ = (
        "blocked",
        "bucket",
        "bulk",
        "fin_seen",
        "moved_when_dry",
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
        self.bulk = False
        """It has filled a whole turn, and has not come down to messages since."""
        self.moved_when_dry = 0
        """Bytes it had moved when it ran dry the last time, as a bulk transfer."""
        self.blocked = False
        """Waiting for the sink to become writable."""
        self.to_end = False
        """The source has ended, or sends urgent data: read on until there is nothing more."""
        self.fin_seen = False
        """The source has ended, and sent no urgent data."""
        self.turn_is_due = False
        """It has asked for another turn. One at a time: every further event would add one."""

    def is_bulk(self) -> None:
        """It has filled a whole turn."""
        self.bulk = True
        self.mover = self.mover.for_bulk()

    def ran_dry(self) -> None:
        """A turn of a bulk transfer ended because there was no more."""
        moved_before, self.moved_when_dry = self.moved_when_dry, self.mover.moved
        if self.moved_when_dry - moved_before < MESSAGE_BYTES:
            self.bulk = False
            self.mover = self.mover.for_messages()

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
        "_limit_s",
        "_limits",
        "_on_first_byte",
        "_over",
        "_passed_down",
        "_poller",
        "_timer",
        "_timers",
        "_upstream",
        "down",
        "last_byte_at",
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
        self._limit_s = limits.idle_s
        """How long it may go without a byte now."""
        self._timer: Timer | None = None
        self._clock = clock
        self._over: Callable[[CloseReason], None] | None = None
        self._on_first_byte = on_first_byte
        self._passed_down = 0
        self.last_byte_at: float | None = None
        """When the backend's last byte so far was passed on; after the first one, to the turn."""
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
        self._wait(self._limit_s)
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
                if events & GONE:
                    up.bulk = False  # there is no later
            if events & READABLE and up.open and not (up.blocked or up.turn_is_due):
                if up.bulk:
                    self._line_up(up)
                else:
                    self._run(up)
            if events & GONE and down.open:
                self._finish(CloseReason.CLIENT_RESET)
            elif events & WRITABLE and down.blocked:
                if down.bulk:
                    self._line_up(down)
                else:
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
                if down.bulk:
                    self._line_up(down)
                else:
                    self._run(down)
            if events & WRITABLE and up.blocked:
                if up.bulk:
                    self._line_up(up)
                else:
                    self._run(up)
        except Exception:
            self._broken()

    def carried(self) -> tuple[int, int]:
        """Bytes delivered so far, up and down."""
        return self.up.mover.moved, self.down.mover.moved

    def close(self) -> None:
        """Free what the movers hold; a turn that is due already (`run_soon`) does nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        for direction in (self.up, self.down):
            direction.open = False
            direction.mover.close()
            if direction.pause is not None:
                direction.pause.cancel()

    def check(self, now: float) -> float | None:
        """End the relay if it was idle too long; else when to ask again."""
        if self.reason is not None:
            return None
        if self.up.pause or self.down.pause:  # our own doing is no silence
            self._active_at = now
        deadline = max(self._active_at, self._timers.resumed_at) + self._limit_s
        if deadline > now:
            return deadline
        half_closed = not (self.up.open and self.down.open)
        self._finish(CloseReason.HALF_CLOSED_TIMEOUT if half_closed else CloseReason.IDLE_TIMEOUT)
        return None

    def _wait(self, limit_s: float) -> None:
        """Go on for as long as no silence is longer than `limit_s`."""
        if self._timer is not None:
            self._timer.cancel()
        self._limit_s = limit_s
        self._timer = self._timers.add(self._active_at + limit_s, self.check)

    def _line_up(self, direction: Direction) -> None:
        """Have the next turn of a bulk transfer after the sockets' events."""
        direction.blocked = False
        self._ask_for_a_turn(direction)

    def _run(self, direction: Direction) -> None:
        self._active_at = self._poller.now
        direction.blocked = False
        mover = direction.mover
        stop = mover.move(direction.to_end, UNLIMITED, direction.fin_seen)
        if direction is self.down:
            moved = mover.moved
            if moved != self._passed_down:
                self.last_byte_at = self._active_at
                if not self._passed_down:
                    self._poller.grown(self._client)
                    self._poller.grown(self._upstream)
                    self._first_byte()
                self._passed_down = moved
        if stop is Stop.DRAINED:
            if direction.bulk:
                direction.ran_dry()
        elif stop is Stop.BLOCKED:
            direction.blocked = True
            self._poller.want_write(direction.sink)
        elif stop is Stop.UNFINISHED:
            direction.is_bulk()
            self._ask_for_a_turn(direction)
        elif stop is Stop.PACED:
            self._pause(direction)
        else:
            self._end(direction, stop)

    def _first_byte(self) -> None:
        self.last_byte_at = now = self._clock()
        self._on_first_byte(now)

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
        limits = self._limits
        self._wait(limits.client_finished_s if direction is self.up else limits.backend_finished_s)
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
            return
        self._wait(self._limits.backend_finished_s)
        if not self.down.blocked:
            self._run(self.down)

    def _broken(self) -> None:
        """A fault of nginy: an edge was lost with it, so this connection would wait for ever."""
        log.exception("a connection was lost by a fault of nginy")
        self._finish(CloseReason.INTERNAL_ERROR)

    def _finish(self, reason: CloseReason) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        if reason is CloseReason.CLIENT_RESET:
            self._upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        for direction in (self.up, self.down):
            direction.open = direction.blocked = False
        if self._over is not None:
            self._over(reason)
