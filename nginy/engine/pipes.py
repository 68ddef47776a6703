"""Kernel buffers for splice(2), and a few spare ones that all directions share."""

import fcntl
import os

from nginy.engine.descriptors import first_reserved

PIPE_BYTES = 1 << 20
"""More than a turn moves: a pipe has a place per 4 KiB, and packets fill theirs to a third."""
LEAST_PIPE_BYTES = 128 * 1024
"""Copying is faster than splicing through less. Unprivileged, a user's pipes beyond 64 MiB are
granted 8 KiB (pipe(7), pipe-user-pages-soft)."""
SPARE_PIPES = 8


class Pipe:
    """A kernel buffer between two sockets, as large as allowed, at most PIPE_BYTES."""

    __slots__ = ("bytes", "capacity_bytes", "read_end", "write_end")

    def __init__(self) -> None:
        """Empty. Raises OSError if no descriptor is left."""
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.bytes = 0
        try:
            self.capacity_bytes: int = fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # pipes are limited, or memory is
            self.capacity_bytes = 0

    def close(self) -> None:
        """Throw away what is in it."""
        os.close(self.read_end)
        os.close(self.write_end)


class PipePool:
    """Empty pipes that are kept for the next turn."""

    def __init__(self) -> None:
        """None yet."""
        self._spare: list[Pipe] = []

    def take(self) -> Pipe | None:
        """An empty pipe; None if there is none large enough to be had."""
        if self._spare:
            return self._spare.pop()
        try:
            pipe = Pipe()
        except OSError:  # out of descriptors: copying needs none
            return None
        newest = max(pipe.read_end, pipe.write_end)
        if pipe.capacity_bytes >= LEAST_PIPE_BYTES and newest < first_reserved():
            return pipe
        pipe.close()
        return None

    def give_back(self, pipe: Pipe) -> None:
        """Keep `pipe`, unless there is something in it or enough are kept."""
        if pipe.bytes or len(self._spare) >= SPARE_PIPES:
            pipe.close()
        else:
            self._spare.append(pipe)

    def clear(self) -> None:
        """Keep none."""
        while self._spare:
            self._spare.pop().close()


pipes = PipePool()
