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

A direction with a rate pauses while its bucket is empty: its source is not read, and the wheel
resumes it.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from select import EPOLLERR
from typing import NamedTuple

from nginy.engine.mover import Flow, Mover
from nginy.engine.paced_mover import PacedMover
from nginy.engine.poller import GONE, READABLE, SHORT_READS, WRITABLE, Poller
from nginy.engine.timers import Timer, TimerWheel
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.rate import NO_LIMIT, Rates, TokenBucket


class Limits(NamedTuple):
    """How long a relay may go without a byte, in seconds."""

    idle_s: float
    half_closed_s: float
    """The same, once one side has sent FIN."""

    @property
    def shortest_s(self) -> float:
        """How long nothing can be due."""
        return min(self)


class Direction:
    """One way: its mover and how far it got."""

    __slots__ = ("blocked", "bucket", "mover", "open", "pause", "sink", "to_end")

    def __init__(self, mover: Mover, sink: socket.socket) -> None:
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

    def pace(self, bytes_per_s: float, now: float) -> None:
        """Be no faster than that; 0: no limit."""
        self.bucket = TokenBucket.of(bytes_per_s, now)
        if self.bucket is not None:
            self.mover = PacedMover(self.mover, self.bucket, time.monotonic)


class Relay:
    """Two directions between a client and a backend, both watched by `poller` already.

    `up` is client to backend, `down` the other way. `over` is called once, with the reason; the
    sockets are the caller's to close.
    """

    __slots__ = (
        "_active_at",
        "_backend_is_reset",
        "_client",
        "_limits",
        "_on_first_byte",
        "_over",
        "_poller",
        "_upstream",
        "_wheel",
        "down",
        "first_byte_at",
        "reason",
        "up",
    )

    def __init__(
        self,
        poller: Poller,
        wheel: TimerWheel,
        client: socket.socket,
        upstream: socket.socket,
        mover: Callable[[socket.socket, socket.socket], Mover],
        limits: Limits,
        rates: Rates,
        on_first_byte: Callable[[float], None] | None = None,
    ) -> None:
        """Nothing moves before `start`. `on_first_byte` is told when the backend's first byte was
        passed on."""
        self._poller = poller
        self._wheel = wheel
        self._client = client
        self._upstream = upstream
        self._limits = limits
        self._over: Callable[[CloseReason], None] | None = None
        self._on_first_byte = on_first_byte
        self._active_at = time.monotonic()
        self._backend_is_reset = False
        self.up = Direction(mover(client, upstream), upstream)
        self.down = Direction(mover(upstream, client), client)
        if rates != NO_LIMIT:
            self.up.pace(rates.upload_bytes_per_s, self._active_at)
            self.down.pace(rates.download_bytes_per_s, self._active_at)
        self.first_byte_at: float | None = None
        """When the backend's first byte was passed on (monotonic seconds)."""
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
        if events & SHORT_READS:
            up.to_end = True
        if events & READABLE and up.open and not up.blocked:
            self._run(up)
        if events & GONE and down.open:
            self._finish(CloseReason.CLIENT_RESET)
        elif events & WRITABLE and down.blocked:
            self._run(down)

    def on_upstream(self, events: int) -> None:
        """Handle the backend's events."""
        up, down = self.up, self.down
        if events & SHORT_READS:
            down.to_end = True
            if events & GONE and up.open:
                # A Unix socket that is closed hangs up at once, without an error; TCP's says FIN.
                self._backend_lost(reset=bool(events & EPOLLERR))
        if events & READABLE and down.open and not down.blocked:
            self._run(down)
        if events & WRITABLE and up.blocked:
            self._run(up)

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
            return min(deadline, now + self._limits.shortest_s)
        self._finish(CloseReason.HALF_CLOSED_TIMEOUT if half_closed else CloseReason.IDLE_TIMEOUT)
        return None

    def _run(self, direction: Direction) -> None:
        self._active_at = self._poller.now
        direction.blocked = False
        flow = direction.mover.move(direction.to_end)
        if self.first_byte_at is None and self.down.mover.moved:
            self._first_byte_passed()
        if flow is Flow.DRAINED:
            return
        if flow is Flow.BLOCKED:
            direction.blocked = True
            self._poller.want_write(direction.sink)
        elif flow is Flow.UNFINISHED:
            self._poller.run_soon(partial(self._go_on, direction))
        elif flow is Flow.PACED:
            self._pause(direction)
        else:
            self._end(direction, flow)

    def _first_byte_passed(self) -> None:
        self.first_byte_at = time.monotonic()
        if self._on_first_byte is not None:
            self._on_first_byte(self.first_byte_at)

    def _pause(self, direction: Direction) -> None:
        if direction.pause is None and direction.bucket is not None:
            ready_at = direction.bucket.ready_at(1)
            direction.pause = self._wheel.add(ready_at, partial(self._resume, direction))

    def _resume(self, direction: Direction, now: float) -> None:
        direction.pause = None
        self._go_on(direction)
        self._active_at = now  # the poller's time is that of its last turn

    def _go_on(self, direction: Direction) -> None:
        if self.reason is None and direction.open and not direction.blocked:
            self._run(direction)

    def _end(self, direction: Direction, flow: Flow) -> None:
        if flow is Flow.FIN:
            self._pass_on_fin(direction)
        elif (direction is self.up) == (flow is Flow.SOURCE_LOST):
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
        with suppress(OSError):  # lost meanwhile: its own event says so
            direction.sink.shutdown(socket.SHUT_WR)

    def _backend_lost(self, *, reset: bool = True) -> None:
        self._backend_is_reset = reset
        self.up.open = self.up.blocked = False
        self.down.to_end = True
        if not self.down.open:
            self._finish(CloseReason.BACKEND_RESET if reset else CloseReason.COMPLETED)
        elif not self.down.blocked:
            self._run(self.down)

    def _finish(self, reason: CloseReason) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        for direction in (self.up, self.down):
            direction.open = direction.blocked = False
        if self._over is not None:
            self._over(reason)
