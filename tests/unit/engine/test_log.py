"""The log on standard error: one line per entry, in nobody's way."""

import io
import logging
import sys
import threading

import pytest

from nginy.engine.line_writer import LineWriter
from nginy.engine.log import FORMAT, LineFormatter, LogHandler


def entry(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("nginy", logging.WARNING, "f.py", 1, message, arguments, exc_info)


@pytest.mark.parametrize(
    ("foreign", "written"),
    [
        ("b1\n2026-01-01 00:00:00 ERROR forged", "b1\\n2026-01-01 00:00:00 ERROR forged"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\tb\x7f\x85\u2028", "a\\r\\tb\\x7f\\x85\\u2028"),
        ("K\u00f6ln", "K\u00f6ln"),
    ],
)
def test_control_characters_are_escaped(foreign, written):
    line = LineFormatter(FORMAT).format(entry("%s is down", foreign))
    assert line.endswith(f" WARNING {written} is down")
    assert len(line.splitlines()) == 1


def test_a_traceback_has_its_lines_and_can_forge_none():
    try:
        raise RuntimeError("a bug\n2026-01-01 00:00:00,000 ERROR forged")
    except RuntimeError:
        text = LineFormatter(FORMAT).format(entry("a fault", exc_info=sys.exc_info()))
    first, *others = text.split("\n")
    assert first.endswith("a fault")
    assert len(others) > 2
    assert all(line.startswith("    ") for line in others)


def test_what_is_lost_while_nobody_reads_is_said_with_the_next_line():
    class Stuck(io.BytesIO):
        def write(self, data) -> int:
            entered.set()
            released.wait(10)
            written.append(bytes(data).decode())
            if len(written) == 3:
                all_written.set()
            return len(data)

    entered, released, all_written = threading.Event(), threading.Event(), threading.Event()
    written: list[str] = []
    writer = LineWriter(Stuck(), max_waiting=2)
    handler = LogHandler(writer)
    handler.handle(entry("first"))
    assert entered.wait(10)
    for number in range(5):
        handler.handle(entry("entry %d", number))
    assert writer.lost == 3
    released.set()
    assert all_written.wait(10)
    handler.handle(entry("last"))
    assert writer.close()
    lines = "".join(written).splitlines()
    assert [line.partition(" WARNING ")[2] for line in lines] == [
        "first",
        "entry 0",
        "entry 1",
        "log: 3 lines lost: standard error was not read or written fast enough",
        "last",
    ]


@pytest.mark.parametrize(
    ("record", "written"),
    [
        (entry("%s", "\udc80"), "WARNING \\udc80"),
        (entry("%d of %d", "x"), "log: an entry cannot be written"),
    ],
)
def test_no_entry_is_a_fault_of_whoever_logs_it(record, written):
    stream = io.BytesIO()
    stream.close = lambda: None  # type: ignore[method-assign]
    writer = LineWriter(stream, max_waiting=10)
    LogHandler(writer).handle(record)
    assert writer.close()
    assert written in stream.getvalue().decode()
