"""Writes close records as JSON lines, in batches, from a thread of its own.

The connection's path only encodes its record. A full disk or a stopped reader of standard output
therefore delays nobody; what piles up meanwhile is bounded, and what is dropped is counted. The
thread does nothing but `write`, which releases the interpreter lock.
"""

import logging
import queue
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from nginy.errors import NginyError
from nginy.traffic.record import Record

log = logging.getLogger(__name__)

MAX_WAITING_BATCHES = 100
CLOSE_TIMEOUT_S = 2.0


class AccessLogError(NginyError):
    """The access log cannot be opened."""


def open_access_log(target: str) -> "AccessLog":
    """The log at `target`: a path (appended to), or `-` for standard output.

    Raises AccessLogError if it cannot be opened.
    """
    if target == "-":
        if sys.stdout is None:  # Python's way to say that descriptor 1 was closed at the start
            raise AccessLogError("access_log - cannot be written: standard output is closed")
        return AccessLog(sys.stdout.buffer)
    try:
        return AccessLog(Path(target).open("ab"), close_stream=True)
    except OSError as error:
        raise AccessLogError(f"access_log {target} cannot be written: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the path
        raise AccessLogError(f"access_log {target!r} cannot be written: {error}") from error


class AccessLog:
    """Records go in by `add`, out to the stream at every `flush`."""

    def __init__(self, stream: BinaryIO, *, close_stream: bool = False) -> None:
        """Write to `stream`; with `close_stream`, `close` closes it, too."""
        self.dropped = 0
        """Records lost because the stream could not take them."""
        self._stream = stream
        self._close_stream = close_stream
        self._lines: list[bytes] = []
        self._batches: queue.Queue[list[bytes] | None] = queue.Queue(MAX_WAITING_BATCHES)
        self._thread = threading.Thread(target=self._write_batches, daemon=True)
        self._thread.start()

    def add(self, record: Record) -> None:
        """Keep `record` for the next flush."""
        self._lines.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Hand what was added to the writing thread; never waits."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._batches.put_nowait(lines)
        except queue.Full:
            self._lost(len(lines), "it is not read or written fast enough")

    def close(self) -> None:
        """Flush, and wait until all is written; gives up after CLOSE_TIMEOUT_S without progress."""
        self.flush()
        with suppress(queue.Full):
            self._batches.put(None, timeout=CLOSE_TIMEOUT_S)
            self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("access log: the last records are lost: it is not read or written")

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            try:
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lost(len(lines), str(error))
        if self._close_stream:
            with suppress(OSError):  # what it still holds was counted as lost
                self._stream.close()

    def _lost(self, records: int, why: str) -> None:
        self.dropped += records
        log.error("access log: %d records lost (%d in all): %s", records, self.dropped, why)
