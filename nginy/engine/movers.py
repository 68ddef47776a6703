"""Byte movers: one way, from a non-blocking socket to another, as far as both allow.

This is the seam for other ways to move bytes; the tests of a mover run over every class here.

Back-pressure: what the sink did not take waits in the mover, and the source is not read meanwhile.
So a mover's buffer is bounded; the rest waits in the sender.

Small messages are copied: splice(2) needs two calls more for them, and a pipe. A direction that
has filled a whole turn with full chunks is spliced from then on, pages going from socket to socket
through a pipe: 1.5 times the rate of copying (1.2-1.6 against 0.8-1.05 GB/s through three
namespaces on two cores). What the sink did not take waits in the pipe, at most PIPE_BYTES. The
kernel splices nothing past urgent data: a bulk transfer with some in it waits there until the idle
timeout.
"""

import fcntl
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Protocol

from nginy.traffic.rate import TokenBucket

CHUNK_BYTES = 64 * 1024
CHUNKS_PER_TURN = 16
"""Fairness: a bulk transfer lets the others have their turn after 1 MiB."""
UNLIMITED = sys.maxsize


class Stop(Enum):
    """Why a mover stopped."""

    DRAINED = 0
    """The source has no more for now."""
    BLOCKED = 1
    """The sink takes no more for now."""
    UNFINISHED = 2
    """The turn is over, not the bytes."""
    FIN = 3
    """The source has ended and all of it was delivered."""
    SOURCE_LOST = 4
    """The source was reset."""
    SINK_LOST = 5
    """The sink was reset."""
    PACED = 6
    """No more may be read for now (`PacedMover`)."""


class Mover(Protocol):
    """Moves bytes one way between two non-blocking sockets."""

    @property
    def moved(self) -> int:
        """Bytes the sink has taken so far."""

    @property
    def taken(self) -> int:
        """Bytes read from the source so far: `moved`, and those that wait for the sink."""

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        """Move until something stops it, reading at most `limit` bytes; then it is UNFINISHED.

        A read that gives less than was asked for means "no more" to the edge-triggered poll,
        unless the source has ended (`to_end`): then the end itself must be read too. So it is
        with urgent data, where a read stops short, too. With `fin_seen` (FIN is there, and no
        urgent data) such a read is the last one, which spares the one that would give nothing.
        """

    def for_bulk(self) -> "Mover":
        """Who goes on after a whole turn of full chunks (UNFINISHED): a mover better at that."""

    def close(self) -> None:
        """Free what the mover holds; the sockets are not its own."""


_chunk = bytearray(CHUNK_BYTES)
_chunk_view = memoryview(_chunk)


class CopyMover:
    """Through one buffer that all connections of the process share; only the rest is kept."""

    __slots__ = ("_recv_into", "_rest", "_send", "_sink", "_source", "moved")

    def __init__(self, source: socket.SocketType, sink: socket.SocketType) -> None:
        """Move from `source` to `sink`; closes neither."""
        self._source = source
        self._sink = sink
        self._recv_into = source.recv_into
        self._send = sink.send
        self._rest = b""
        self.moved = 0

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self.moved + len(self._rest)

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        """See `Mover`."""
        if self._rest and (stop := self._send_rest()) is not None:
            return stop
        asked = CHUNK_BYTES if limit > CHUNK_BYTES else limit
        if asked <= 0:
            return Stop.UNFINISHED
        for _ in range(CHUNKS_PER_TURN):
            try:
                size = self._recv_into(_chunk, asked)
            except BlockingIOError:
                return Stop.DRAINED
            except OSError:
                return Stop.SOURCE_LOST
            if size == 0:
                return Stop.FIN
            try:
                sent = self._send(_chunk_view[:size])
            except BlockingIOError:
                sent = 0
            except OSError:
                return Stop.SINK_LOST
            self.moved += sent
            if sent < size:
                self._rest = bytes(_chunk_view[sent:size])
                return Stop.BLOCKED
            if size < asked:
                if fin_seen:
                    return Stop.FIN
                if not to_end:
                    return Stop.DRAINED
            limit -= size
            if limit < CHUNK_BYTES:
                if not limit:
                    break
                asked = limit
        return Stop.UNFINISHED

    def for_bulk(self) -> Mover:
        """Splice, if there is a pipe to be had."""
        try:
            return SpliceMover(self._source, self._sink, self.moved)
        except OSError:  # out of descriptors: copying needs none
            return self

    def close(self) -> None:
        """See `Mover`: the rest is memory."""
        self._rest = b""

    def _send_rest(self) -> Stop | None:
        try:
            sent = self._send(self._rest)
        except BlockingIOError:
            return Stop.BLOCKED
        except OSError:
            return Stop.SINK_LOST
        self.moved += sent
        self._rest = self._rest[sent:]
        return Stop.BLOCKED if self._rest else None


PIPE_BYTES = 1 << 20
SPLICES_PER_TURN = 2
"""Fairness, as CHUNKS_PER_TURN: at most 2 MiB."""
FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """A kernel buffer between two sockets, as large as allowed, at most PIPE_BYTES."""

    __slots__ = ("bytes", "read_end", "write_end")

    def __init__(self) -> None:
        """Empty. Raises OSError if no descriptor is left."""
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.bytes = 0
        with suppress(OSError):  # pipes are limited, or memory is: slower, but right
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        """Throw away what is in it."""
        os.close(self.read_end)
        os.close(self.write_end)


class SpliceMover:
    """Through a pipe of its own, without copying."""

    __slots__ = ("_pipe", "_sink", "_source", "moved")

    def __init__(self, source: socket.SocketType, sink: socket.SocketType, moved: int = 0) -> None:
        """Move from `source` to `sink`, which have moved so much before; closes neither.

        Raises OSError if no descriptor is left.
        """
        self._source = source
        self._sink = sink
        self._pipe: Pipe | None = Pipe()
        self.moved = moved

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self.moved + (self._pipe.bytes if self._pipe else 0)

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        """See `Mover`."""
        pipe = self._pipe
        if pipe is None:
            return Stop.DRAINED
        source, sink = self._source.fileno(), self._sink.fileno()
        for _ in range(SPLICES_PER_TURN):
            if not pipe.bytes:
                asked = min(limit, PIPE_BYTES)
                if asked <= 0:
                    break
                try:
                    pipe.bytes = os.splice(source, pipe.write_end, asked, flags=FLAGS)
                except BlockingIOError:
                    return Stop.DRAINED
                except OSError:
                    return Stop.SOURCE_LOST
                if not pipe.bytes:
                    return Stop.FIN
                limit -= pipe.bytes
            while pipe.bytes:
                try:
                    sent = os.splice(pipe.read_end, sink, pipe.bytes, flags=FLAGS)
                except BlockingIOError:
                    return Stop.BLOCKED
                except OSError:
                    return Stop.SINK_LOST
                pipe.bytes -= sent
                self.moved += sent
        return Stop.UNFINISHED

    def for_bulk(self) -> Mover:
        """There is nothing better."""
        return self

    def close(self) -> None:
        """See `Mover`."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


class PacedMover:
    """No faster than a token bucket, whichever way the bytes are moved.

    Counts what is read, so what waits for a slow sink has been paid for already.
    """

    __slots__ = ("_bucket", "_clock", "_mover")

    def __init__(self, mover: Mover, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        """Move by `mover`; `clock` gives seconds."""
        self._mover = mover
        self._bucket = bucket
        self._clock = clock

    @property
    def moved(self) -> int:
        """See `Mover`."""
        return self._mover.moved

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self._mover.taken

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        """See `Mover`; PACED if the bucket was the reason to stop."""
        allowed = min(limit, self._bucket.available(self._clock()))
        before = self._mover.taken
        stop = self._mover.move(to_end, allowed, fin_seen)
        took = self._mover.taken - before
        self._bucket.spend(took)
        return Stop.PACED if stop is Stop.UNFINISHED and took >= allowed else stop

    def for_bulk(self) -> Mover:
        """As before, by a better mover."""
        self._mover = self._mover.for_bulk()
        return self

    def close(self) -> None:
        """See `Mover`."""
        self._mover.close()
