"""Connections on which lines are read, each no faster than it should, all in a bounded time.

What a peer sends too much stays in the kernel, which makes it wait: its lines come late, and they
cost nobody else anything.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable

from nginy.traffic.rate import TokenBucket

LINES_PER_S = 100.0
"""Of one connection, in the long run: a report a second is usual, ten are many."""
LINES_AT_ONCE = 200.0
SHARE = 0.2
"""Of the event loop's time, for all lines of all connections together."""
TURN_S = 0.002
"""How long they may take in one go: the others' traffic waits for it."""
SHORTEST_PAUSE_S = 0.001
READ_BYTES = 4_096


class LineReader:
    """One connection. It is watched, or has its place in the turns, or waits for its own rate."""

    __slots__ = ("bucket", "heard_at", "host", "lines", "sock", "unfinished")

    def __init__(self, sock: socket.socket, host: str, now: float) -> None:
        """`sock` is non-blocking; whoever closes it tells the turns first (`Turns.leave`)."""
        self.sock = sock
        self.host = host
        self.heard_at = now
        self.unfinished = b""
        self.lines: deque[bytes] = deque()
        """Whole ones that were read and not handled."""
        self.bucket = TokenBucket(LINES_PER_S, LINES_AT_ONCE, now)

    def read(self) -> bool:
        """Read a little; False: the peer has hung up."""
        try:
            data = self.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        *lines, self.unfinished = (self.unfinished + data).split(b"\n")
        self.lines.extend(line for line in lines if line.strip())
        return bool(data)


class Turns:
    """Who is read next: one line each in turn, while there is time."""

    def __init__(
        self,
        work: Callable[[LineReader, float], bool],
        slowed: Callable[[LineReader, float], None],
        now: float,
    ) -> None:
        """`work` reads or handles a line of a connection; False: it has left. `slowed` is told of
        a connection that has used up its rate. `now`: monotonic seconds."""
        self._work = work
        self._slowed = slowed
        self._loop = asyncio.get_running_loop()
        self._time = TokenBucket(SHARE, TURN_S, now)
        self._waiting: dict[LineReader, None] = {}
        self._later: dict[LineReader, asyncio.TimerHandle] = {}
        self._due: asyncio.TimerHandle | None = None

    def watch(self, reader: LineReader) -> None:
        """Give it a turn when something has come."""
        self._loop.add_reader(reader.sock, self._readable, reader)

    def leave(self, reader: LineReader) -> None:
        """No turn from now on."""
        self._loop.remove_reader(reader.sock)
        self._waiting.pop(reader, None)
        if timer := self._later.pop(reader, None):
            timer.cancel()

    def close(self) -> None:
        """No turns for anybody; everybody has left."""
        if self._due is not None:
            self._due.cancel()

    def _readable(self, reader: LineReader) -> None:
        self._loop.remove_reader(reader.sock)
        self._enqueue(reader)

    def _enqueue(self, reader: LineReader) -> None:
        self._later.pop(reader, None)
        self._waiting[reader] = None
        if self._due is None:
            self._due = self._loop.call_later(self._pause_s(), self._turn)

    def _pause_s(self) -> float:
        return max(0.0, self._time.ready_at(0.0) - time.monotonic())

    def _turn(self) -> None:
        began_at = now = time.monotonic()
        self._time.available(began_at)
        while self._waiting and now - began_at < TURN_S:
            reader = next(iter(self._waiting))
            del self._waiting[reader]
            if self._work(reader, now):
                self._put_back(reader, now)
            now = time.monotonic()
        self._time.spend(now - began_at)
        self._due = None
        if self._waiting:
            pause_s = max(SHORTEST_PAUSE_S, self._pause_s())
            self._due = self._loop.call_later(pause_s, self._turn)

    def _put_back(self, reader: LineReader, now: float) -> None:
        if not reader.lines:
            self.watch(reader)
        elif reader.bucket.take(1.0, now):
            self._waiting[reader] = None
        else:
            self._slowed(reader, now)
            wait_s = reader.bucket.ready_at(1.0) - now
            reader.bucket.spend(1.0)
            self._later[reader] = self._loop.call_later(wait_s, self._enqueue, reader)
