"""Byte movers: one way, from a non-blocking socket to another, as far as both allow.

This is the seam for other ways to move bytes; the tests of a mover run over every class here.

Back-pressure: what the sink did not take waits in the mover, and the source is not read meanwhile.
So a mover's buffer is bounded; the rest waits in the sender.
"""

import socket
import sys
from enum import Enum
from typing import Protocol

CHUNK_BYTES = 64 * 1024
CHUNKS_PER_TURN = 16
"""Fairness: a bulk transfer lets the others have their turn after 1 MiB."""
UNLIMITED = sys.maxsize


class Flow(Enum):
    """How a mover stopped."""

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

    def move(self, to_end: bool, limit: int = UNLIMITED) -> Flow:
        """Move until something stops it, reading at most `limit` bytes; then it is UNFINISHED.

        A read that gives less than was asked for means "no more" to the edge-triggered poll,
        unless the source has ended (`to_end`): then the end itself must be read too. So it is
        with urgent data, where a read stops short, too.
        """

    def close(self) -> None:
        """Free what the mover holds; the sockets are not its own."""


_chunk = bytearray(CHUNK_BYTES)
_chunk_view = memoryview(_chunk)


class CopyMover:
    """Through one buffer that all connections of the process share; only the rest is kept."""

    __slots__ = ("_recv_into", "_rest", "_send", "moved")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        """Move from `source` to `sink`; closes neither."""
        self._recv_into = source.recv_into
        self._send = sink.send
        self._rest = b""
        self.moved = 0

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self.moved + len(self._rest)

    def move(self, to_end: bool, limit: int = UNLIMITED) -> Flow:
        """See `Mover`."""
        if self._rest and (stop := self._send_rest()) is not None:
            return stop
        asked = CHUNK_BYTES if limit > CHUNK_BYTES else limit
        if asked <= 0:
            return Flow.UNFINISHED
        for _ in range(CHUNKS_PER_TURN):
            try:
                size = self._recv_into(_chunk, asked)
            except BlockingIOError:
                return Flow.DRAINED
            except OSError:
                return Flow.SOURCE_LOST
            if size == 0:
                return Flow.FIN
            try:
                sent = self._send(_chunk_view[:size])
            except BlockingIOError:
                sent = 0
            except OSError:
                return Flow.SINK_LOST
            self.moved += sent
            if sent < size:
                self._rest = bytes(_chunk_view[sent:size])
                return Flow.BLOCKED
            if size < asked and not to_end:
                return Flow.DRAINED
            limit -= size
            if limit < CHUNK_BYTES:
                if not limit:
                    break
                asked = limit
        return Flow.UNFINISHED

    def close(self) -> None:
        """See `Mover`: the rest is memory."""
        self._rest = b""

    def _send_rest(self) -> Flow | None:
        try:
            sent = self._send(self._rest)
        except BlockingIOError:
            return Flow.BLOCKED
        except OSError:
            return Flow.SINK_LOST
        self.moved += sent
        self._rest = self._rest[sent:]
        return Flow.BLOCKED if self._rest else None
