"""Writes close records as JSON lines, in batches, in nobody's way (`line_writer.py`).

The connection's path only encodes its record, and gives it the wall-clock time.
"""

import errno
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from io import FileIO, RawIOBase

import orjson

from nginy.complaints import Complaints
from nginy.engine.line_writer import LineWriter, is_named_pipe, open_to_append
from nginy.errors import NginyError
from nginy.traffic.record import Record

log = logging.getLogger(__name__)

MAX_WAITING_BATCHES = 100


class AccessLogError(NginyError):
    """The access log cannot be opened."""


def open_access_log(target: str) -> "AccessLog":
    """The log at `target`: a path (appended to), or `-` for standard output.

    Raises AccessLogError if it cannot be opened.
    """
    if target != "-":
        return AccessLog(_open(target), target)
    if sys.stdout is None:  # Python's way to say that descriptor 1 was closed at the start
        raise AccessLogError("access_log - cannot be written: standard output is closed")
    return AccessLog(FileIO(1, "w", closefd=False))


def _open(path: str) -> RawIOBase:
    try:
        return open_to_append(path)
    except OSError as error:
        why = str(error.strerror)
        if error.errno == errno.ENXIO and is_named_pipe(path):
            why = "nobody reads this named pipe; start its reader first"
        raise AccessLogError(f"access_log {path} cannot be written: {why}") from error
    except ValueError as error:  # a zero byte in the path
        raise AccessLogError(f"access_log {path!r} cannot be written: {error}") from error


class AccessLog:
    """Records go in by `add`, out to the stream at every `flush`."""

    def __init__(
        self,
        stream: RawIOBase,
        path: str | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to `stream`, opened at `path`; None: it cannot be opened again. `wall_clock`
        gives seconds since 1970."""
        self._path = path
        self._wall_clock = wall_clock
        self._second, self._second_text = 0.0, "1970-01-01T00:00:00"
        self._complaints = Complaints(log)
        self._records: list[bytes] = []
        self._writer = LineWriter(stream, MAX_WAITING_BATCHES, self._complain)

    @property
    def dropped(self) -> int:
        """Records lost because the stream could not take them."""
        return self._writer.lost

    def add(self, record: Record) -> None:
        """Keep `record`, of what has just closed, for the next flush; `time` is put before it,
        the present in UTC by ISO 8601 to the millisecond."""
        stamped = {"time": self._time(), **record}
        self._records.append(orjson.dumps(stamped, option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        """Hand what was added to the writing thread; never waits."""
        if self._records:
            records, self._records = self._records, []
            self._writer.write(b"".join(records))

    def reopen(self) -> None:
        """Go on in a new file, if the old one was renamed or removed: for log rotation."""
        self.flush()
        if self._path is None:
            log.info("access log: it is standard output, and stays open")
        else:
            self._writer.reopen(partial(self._open_again, self._path))

    def close(self) -> None:
        """Flush, and wait until all is written; gives up after a while without progress."""
        self.flush()
        if not self._writer.close():
            log.error("access log: the last records are lost: it is not read or written")
        if self.dropped:
            log.error("access log: %d records lost in all", self.dropped)

    def _time(self) -> str:
        seconds, fraction = divmod(self._wall_clock(), 1)
        if seconds != self._second:  # 2 us, and many close in one second
            self._second = seconds
            self._second_text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._second_text}.{int(fraction * 1e3):03}Z"

    def _open_again(self, path: str) -> RawIOBase | None:
        try:
            stream = _open(path)
        except AccessLogError as error:
            log.error("%s; going on in the old file", error)
            return None
        log.info("access log: %s is open again", path)
        return stream

    def _complain(self, why: str) -> None:
        self._complaints.say(
            "loss", time.monotonic(), "access log: %d records lost so far: %s", self.dropped, why
        )
