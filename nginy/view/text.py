"""How names, numbers and tables are written for people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Row = Mapping[str, str]
"""A line of a table, by column."""

WIDEST_CELL = 40
NOTHING = "–"
_BARS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would obey instead of show."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def cell(text: str) -> str:
    """Printable, and no wider than a column may be."""
    text = printable(text)
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 1] + "…"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines with each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def table(rows: Sequence[Row], width: int, left_out_first: Sequence[str]) -> list[str]:
    """Heading and rows; columns without content are left out, and where a line is not long enough
    those of `left_out_first` in turn."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    lines: list[str] = []
    for left_out in ("", *left_out_first):
        columns = [name for name in columns if name != left_out]
        lines = list(aligned([columns, *([row[name] for name in columns] for row in rows)]))
        if max(map(len, lines), default=0) <= width:
            break
    return lines


def cut(line: str, width: int) -> str:
    """At most `width` characters of it."""
    return line if len(line) <= width else line[: width - 1] + "…"


def listed(counts: Mapping[str, int]) -> str:
    """`client_reset 257, backend_down 1`."""
    return printable(", ".join(f"{what} {count}" for what, count in counts.items())) or "none"


def sparks(values: Sequence[float]) -> str:
    """A bar per value, the largest full."""
    top = max([*values, 1.0])
    return "".join(_BARS[round(value / top * (len(_BARS) - 1))] for value in values)


class _Unit(NamedTuple):
    size: float
    name: str


BYTES = (_Unit(1e12, "TB"), _Unit(1e9, "GB"), _Unit(1e6, "MB"), _Unit(1e3, "kB"), _Unit(1, "B"))
TIMES = (_Unit(86_400, "d"), _Unit(3_600, "h"), _Unit(60, "min"), _Unit(1, "s"), _Unit(1e-3, "ms"))


def in_bytes(count: float) -> str:
    """`950 B`, `1.23 MB`."""
    return _in_units(count, BYTES)


def in_time(seconds: float) -> str:
    """`12.3 s`, `4 min`."""
    return _in_units(seconds, TIMES)


def _in_units(value: float, units: Sequence[_Unit]) -> str:
    """In the largest unit that the value reaches."""
    unit = next((unit for unit in units if value >= unit.size), units[-1])
    number = value / unit.size
    return f"{number:.{2 if number < 10 and number % 1 else 0}f} {unit.name}"


def or_nothing(value: float | None, told: Callable[[float], str]) -> str:
    """What is not known is a dash."""
    return NOTHING if value is None else told(value)


def per_second(value: float) -> str:
    """`0.40`, `12.5`, `1234`: a rate with three digits that count."""
    digits = 0 if value >= 99.95 or not value else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}"
