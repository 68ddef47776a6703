"""Byte movers: one way, from a non-blocking socket to another, as far as both allow.

This is the seam for other ways to move bytes; the tests of a mover run over every class here.

Back-pressure: what the sink did not take waits in the mover, and the source is not read meanwhile.
So a mover's buffer is bounded; the rest waits in the sender.

Small messages are copied: splice(2) needs two calls more for them, and a pipe. A direction that
has filled a whole turn with full chunks is spliced from then on, pages going from socket to socket
through a pipe: 1.5 times the rate of copying (1.2-1.6 against 0.8-1.05 GB/s through three
namespaces on two cores). A turn holds its pipe only as long as there is something in it, so a few
serve all; where the kernel grants none of a useful size, the turn copies.
"""

import os
import socket
import sys
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from nginy.engine.pipes import Pipe, pipes
from nginy.traffic.rate import TokenBucket

CHUNK_BYTES = 64 * 1024
TURN_BYTES = 256 * 1024
"""Fairness: a bulk transfer lets the others have their turn after this (0.1 to 0.2 ms)."""
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

    def for_messages(self) -> "Mover":
        """Who goes on after a turn that ended with little (DRAINED): a mover better at that."""

    def close(self) -> None:
        """Free what the mover holds; the sockets are not its own."""


_chunk = bytearray(CHUNK_BYTES)
_chunk_view = memoryview(_chunk)


class CopyMover:
    """Through one buffer that all connections of the process share; only the rest is kept."""

    __slots__ = ("_recv_into", "_rest", "_send", "_sink", "_source", "moved")

    def __init__(self, source: socket.SocketType, sink: socket.SocketType, moved: int = 0) -> None:
        """Move from `source` to `sink`, which have moved so much before; closes neither."""
        self._source = source
        self._sink = sink
        self._recv_into = source.recv_into
        self._send = sink.send
        self._rest = b""
        self.moved = moved

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
        for _ in range(TURN_BYTES // CHUNK_BYTES):
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
        """Splice."""
        return SpliceMover(self._source, self._sink, self.moved)

    def for_messages(self) -> Mover:
        """There is nothing better."""
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


SPLICED_PER_TURN = 512 * 1024
"""Pieces of 256 KiB took half as much CPU again for one download over loopback (0.42 against 0.28 s
per GB), of 512 KiB as much as those of 1 MiB and more."""
FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class SpliceMover(CopyMover):
    """Through a pipe, without copying; copies where there is no pipe to be had."""

    __slots__ = ("_pipe",)

    def __init__(self, source: socket.SocketType, sink: socket.SocketType, moved: int = 0) -> None:
        """Move from `source` to `sink`, which have moved so much before; closes neither."""
        super().__init__(source, sink, moved)
        self._pipe: Pipe | None = None
        """With what the sink has not taken yet; None: nothing."""

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return super().taken + (self._pipe.bytes if self._pipe else 0)

    def move(self, to_end: bool, limit: int = UNLIMITED, fin_seen: bool = False) -> Stop:
        """See `Mover`."""
        pipe = None if self._rest else self._pipe or pipes.take()
        if pipe is None:
            return super().move(to_end, limit, fin_seen)
        before = self.taken
        stop = self._splice(pipe, limit)
        if pipe.bytes and stop is Stop.BLOCKED:
            self._pipe = pipe
            return stop
        self._pipe = None
        pipes.give_back(pipe)
        if stop is Stop.DRAINED and to_end:
            # The kernel splices nothing past urgent data: whether there is more, a read tells.
            return super().move(True, limit - (self.taken - before), fin_seen)
        return stop

    def _splice(self, pipe: Pipe, limit: int) -> Stop:
        """Move what is in `pipe`, then so much more as one turn may."""
        source, sink = self._source.fileno(), self._sink.fileno()
        left = min(limit, SPLICED_PER_TURN)
        while True:
            while pipe.bytes:
                try:
                    sent = os.splice(pipe.read_end, sink, pipe.bytes, flags=FLAGS)
                except BlockingIOError:
                    return Stop.BLOCKED
                except OSError:
                    return Stop.SINK_LOST
                pipe.bytes -= sent
                self.moved += sent
            if left <= 0:
                return Stop.UNFINISHED
            try:
                pipe.bytes = os.splice(source, pipe.write_end, left, flags=FLAGS)
            except BlockingIOError:
                return Stop.DRAINED
            except OSError:
                return Stop.SOURCE_LOST
            if not pipe.bytes:
                return Stop.FIN
            left -= pipe.bytes

    def for_bulk(self) -> Mover:
        """There is nothing better."""
        return self

    def for_messages(self) -> Mover:
        """Copy; nothing waits in between, as the source was the reason to stop."""
        return CopyMover(self._source, self._sink, self.moved)

    def close(self) -> None:
        """See `Mover`."""
        super().close()
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

    def for_messages(self) -> Mover:
        """As before, by a better mover."""
        self._mover = self._mover.for_messages()
        return self

    def close(self) -> None:
        """See `Mover`."""
        self._mover.close()
