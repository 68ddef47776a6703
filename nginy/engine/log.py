"""The log on standard error, written in nobody's way (`line_writer.py`): one line per entry,
whatever is in it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Any

from nginy.engine.line_writer import LineWriter

FORMAT = "%(asctime)s %(levelname)s %(message)s"
MAX_WAITING_LINES = 10_000

CONTROL_CHARACTERS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in CONTROL_CHARACTERS}


class LineFormatter(logging.Formatter):
    r"""Control characters as `\n`, `\x1b`: a name from outside can forge no entry, and steer no
    terminal. Of a traceback every line is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The entry without its traceback."""
        return super().formatMessage(record).translate(ESCAPES)

    def formatException(self, ei: Any) -> str:
        """The traceback."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {line.translate(ESCAPES)}" for line in lines)


class LogHandler(logging.Handler):
    """Hands entries to a LineWriter; says how many were lost with the next one that gets by."""

    def __init__(self, writer: LineWriter) -> None:
        """Write through `writer`, whose lines are entries."""
        super().__init__()
        self.setFormatter(LineFormatter(FORMAT))
        self._writer = writer
        self._losses_said = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Hand `record` over."""
        try:
            text = self.format(record)
        except Exception as error:  # whoever logs must not fail by it
            text = f"log: an entry cannot be written ({error}): {record.msg!r}"
        lost = self._writer.lost
        if lost > self._losses_said and not self._writer.full:
            text = f"{self._loss(lost - self._losses_said)}\n{text}"
            self._losses_said = lost
        self._writer.write(f"{text}\n".encode(errors="backslashreplace"))

    def _loss(self, lines: int) -> str:
        said = "log: %d lines lost: standard error was not read or written fast enough"
        return self.format(
            logging.LogRecord(__name__, logging.WARNING, __file__, 0, said, (lines,), None)
        )


@contextmanager
def logging_to_standard_error(level: int) -> Iterator[None]:
    """Log there what is of `level` or above; at the end, wait a while until all is written."""
    writer = LineWriter(FileIO(2, "w", closefd=False), MAX_WAITING_LINES)
    handler = LogHandler(writer)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        writer.close()
