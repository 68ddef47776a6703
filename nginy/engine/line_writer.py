"""Writes lines to a file or pipe from a thread of its own, so that nobody waits for its reader.

A full disk or a reader that has stopped therefore delays no connection; what piles up meanwhile is
bounded, and what is dropped is counted. `logging.handlers.QueueListener` is not used: when its
reader has stopped, its `stop` waits for ever. The thread writes without Python's buffers, so that
it knows what of a batch is written and what is lost.
"""

import os
import queue
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from io import FileIO, RawIOBase

CLOSE_TIMEOUT_S = 2.0


def open_to_append(path: str) -> RawIOBase:
    """The file at `path`, made if there is none. Raises OSError, ValueError for a zero byte in it.

    A named pipe that nobody reads is an error (ENXIO) instead of a wait.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o666)
    os.set_blocking(descriptor, True)
    return FileIO(descriptor, "w")


def is_named_pipe(path: str) -> bool:
    """Whether `path` is one; no, if it cannot be looked at."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


class LineWriter:
    """Lines go in by `write` and out by the thread, in order."""

    def __init__(
        self, stream: RawIOBase, max_waiting: int, on_loss: Callable[[str], object] | None = None
    ) -> None:
        """Write to `stream`, an unbuffered one, with at most `max_waiting` calls of `write` on
        the way. `on_loss` is told why lines were just lost, from either thread."""
        self.lost = 0
        """Lines that the stream could not take."""
        self._stream = stream
        self._on_loss = on_loss
        self._counting = threading.Lock()
        self._reopen: Callable[[], RawIOBase | None] | None = None
        self._torn = False
        """The last line written lacks its end."""
        self._batches: queue.Queue[bytes | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._write_batches, daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether what is written now will be lost."""
        return self._batches.full()

    def write(self, lines: bytes) -> None:
        """Hand `lines`, each with its line break, to the thread; lost if that lags too far
        behind."""
        try:
            self._batches.put_nowait(lines)
        except queue.Full:
            self._lose(lines.count(b"\n"), "it is not read or written fast enough")

    def reopen(self, open_stream: Callable[[], RawIOBase | None]) -> None:
        """Have the thread go on with what `open_stream` gives, and close the stream it had; None:
        go on with that one. Called in the thread, as opening may wait."""
        self._reopen = open_stream
        with suppress(queue.Full):  # then it is about to look
            self._batches.put_nowait(b"")

    def close(self) -> bool:
        """Whether all is written; gives up after CLOSE_TIMEOUT_S without progress."""
        with suppress(queue.Full):
            self._batches.put(None, timeout=CLOSE_TIMEOUT_S)
            self._thread.join(CLOSE_TIMEOUT_S)
        return not self._thread.is_alive()

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            if self._reopen is not None:
                open_stream, self._reopen = self._reopen, None
                self._replace(open_stream())
            if lines:
                self._write_out(lines)
        self._stream.close()

    def _replace(self, stream: RawIOBase | None) -> None:
        if stream is not None:
            self._stream.close()
            self._stream, self._torn = stream, False

    def _write_out(self, lines: bytes) -> None:
        preface = b"\n" if self._torn else b""
        data = preface + lines
        written = 0
        try:
            while written < len(data):
                written += self._take(data[written:])
        except (OSError, ValueError) as error:
            self._lose(data.count(b"\n", max(written, len(preface))), str(error))
        if written:
            self._torn = data[written - 1 : written] != b"\n"

    def _take(self, data: bytes) -> int:
        taken = self._stream.write(data)
        if taken is None:  # a terminal or pipe that somebody else has made non-blocking
            select.select((), (self._stream,), ())
            return 0
        return taken

    def _lose(self, lines: int, why: str) -> None:
        with self._counting:
            self.lost += lines
        if self._on_loss is not None:
            self._on_loss(why)
