"""The byte mover for bulk: pages go from socket to socket through a pipe, uncopied.

Small messages are copied: splice(2) needs two calls more for them, and a pipe. A direction that
has filled a whole turn with full chunks is spliced from then on: 1.5 times the rate of copying
(1.2-1.6 against 0.8-1.05 GB/s through three namespaces on two cores).

What the sink did not take waits in the pipe, at most PIPE_BYTES. The kernel splices nothing past
urgent data: a bulk transfer with some in it waits there until the idle timeout.
"""

import fcntl
import os
import socket
from contextlib import suppress

from nginy.engine.mover import CHUNK_BYTES, CHUNKS_PER_TURN, UNLIMITED, CopyMover, Flow

PIPE_BYTES = 1 << 20
SPLICES_PER_TURN = 2
"""Fairness, as CHUNKS_PER_TURN: at most 2 MiB."""
FULL_TURN_BYTES = CHUNK_BYTES * CHUNKS_PER_TURN
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
    """Copies at first, splices once it is worth it."""

    __slots__ = ("_copy", "_pipe", "_sink", "_source", "_spliced")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        """Move from `source` to `sink`; closes neither."""
        self._copy = CopyMover(source, sink)
        self._source = source
        self._sink = sink
        self._pipe: Pipe | None = None
        self._spliced = 0

    @property
    def moved(self) -> int:
        """See `Mover`."""
        return self._copy.moved + self._spliced

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self._copy.taken + self._spliced + (self._pipe.bytes if self._pipe else 0)

    def move(self, to_end: bool, limit: int = UNLIMITED) -> Flow:
        """See `Mover`."""
        if self._pipe is not None:
            return self._splice(self._pipe, limit)
        flow = self._copy.move(to_end, limit)
        if flow is Flow.UNFINISHED and limit >= FULL_TURN_BYTES:
            self.splice_from_now_on()
        return flow

    def splice_from_now_on(self) -> None:
        """Stop copying, if there is a pipe to be had. Nothing may wait in the copying mover."""
        with suppress(OSError):  # out of descriptors: copying needs none
            self._pipe = Pipe()

    def close(self) -> None:
        """See `Mover`."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _splice(self, pipe: Pipe, limit: int) -> Flow:
        source, sink = self._source.fileno(), self._sink.fileno()
        for _ in range(SPLICES_PER_TURN):
            if not pipe.bytes:
                asked = min(limit, PIPE_BYTES)
                if asked <= 0:
                    break
                try:
                    pipe.bytes = os.splice(source, pipe.write_end, asked, flags=FLAGS)
                except BlockingIOError:
                    return Flow.DRAINED
                except OSError:
                    return Flow.SOURCE_LOST
                if not pipe.bytes:
                    return Flow.FIN
                limit -= pipe.bytes
            while pipe.bytes:
                try:
                    sent = os.splice(pipe.read_end, sink, pipe.bytes, flags=FLAGS)
                except BlockingIOError:
                    return Flow.BLOCKED
                except OSError:
                    return Flow.SINK_LOST
                pipe.bytes -= sent
                self._spliced += sent
        return Flow.UNFINISHED
