"""Frames in a terminal, drawn by rich; as text at once, or a line at a time."""

import asyncio
import os
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from nginy.view.frame import Frame
from nginy.view.observer import Observer, Seen
from nginy.view.picture import Picture, RulePicture, line_of, picture
from nginy.view.text import Row, cut, in_time, printable, sparks, table

SAID_EVERY_S = 5.0
REDRAWN_S = 1.0
"""At least so often, for what is said of an answer's age."""
TREND = 24
LEFT_OUT_FIRST = (
    *("score", "address", "last minute", "check", "connect", "since", "weight", "up/s", "failed"),
    *("share", "down/s"),
)


class Line(NamedTuple):
    """A line, and how it looks (a style of rich)."""

    text: str
    style: str = ""


@dataclass
class Trends:
    """The newest rates of each backend, by rule."""

    _rates: dict[tuple[str, str], deque[float]] = field(default_factory=dict)

    def add(self, shown: Picture) -> None:
        """Of the next frame; who is not in it is forgotten."""
        self._rates = {
            (rule.key, row.id): self._grown((rule.key, row.id), row.rate)
            for rule in shown.rules
            for row in rule.rows
        }

    def of(self, rule: str, backend: str) -> str:
        """Drawn as bars."""
        return sparks(self._rates.get((rule, backend), ()))

    def _grown(self, key: tuple[str, str], rate: float | None) -> deque[float]:
        rates = self._rates.get(key) or deque(maxlen=TREND)
        if rate is not None:
            rates.append(rate)
        return rates


def text_of(frame: Frame, width: int) -> str:
    """A frame as text, for files and pipes."""
    return "\n".join(line.text for line in _lines(picture(frame), Trends(), width))


def screen(
    seen: Seen, shown: Picture | None, trends: Trends, width: int, height: int
) -> list[Line]:
    """What a terminal of that size shows."""
    lines = [_head(seen)]
    lines += _lines(shown, trends, width) if shown else []
    if len(lines) > height:
        hidden = len(lines) - height + 1
        lines[height - 1 :] = [Line(f"… {hidden} more lines: a taller terminal, or --rule", "dim")]
    return [Line(cut(printable(line.text), width), line.style) for line in lines]


def _head(seen: Seen) -> Line:
    if seen.problem:
        age = f"; last frame {in_time(seen.age_s)} ago" if seen.frame else ""
        return Line(f"✕ {seen.problem}{age}", "bold red")
    return Line("nginy top · q or Ctrl-C leaves", "dim")


def _lines(shown: Picture, trends: Trends, width: int) -> Iterator[Line]:
    yield from map(Line, shown.facts)
    for rule in shown.rules:
        yield Line("")
        yield Line(f"rule {rule.title}", "bold")
        yield from (Line(f"  {fact}") for fact in rule.facts)
        yield from _table(rule, trends, width - 2)
        yield from (Line(f"  {note}", "yellow") for note in rule.notes)


def _table(rule: RulePicture, trends: Trends, width: int) -> Iterator[Line]:
    rows: list[Row] = [{**row.cells, "trend": trends.of(rule.key, row.id)} for row in rule.rows]
    for number, line in enumerate(table(rows, width, LEFT_OUT_FIRST)):
        troubled = number > 0 and rule.rows[number - 1].troubled
        yield Line(f"  {line}", "dim" if number == 0 else "red" if troubled else "")


async def say(observer: Observer, period_s: float, write: Callable[[str], None]) -> None:
    """A line per 5 s, for ever: what was in them, or why that is not known."""
    following = asyncio.create_task(observer.follow(min(period_s, SAID_EVERY_S)))
    try:
        while True:
            await asyncio.sleep(SAID_EVERY_S)
            write(f"{time.strftime('%H:%M:%S')}  {spoken(observer.seen())}")
    finally:
        following.cancel()


def spoken(seen: Seen) -> str:
    """One line of what is known now."""
    if seen.problem or seen.frame is None:
        return seen.problem or "no frame yet"
    return line_of(seen.frame)


async def draw(observer: Observer, period_s: float) -> None:
    """On the whole terminal until `q`, or until this task is cancelled.

    Raises ImportError if there is no rich.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    trends = Trends()
    drawn: Frame | None = None
    shown: Picture | None = None
    following = asyncio.create_task(observer.follow(period_s))
    try:
        with (
            _leaving_by_q(),
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                seen = observer.seen()
                if seen.frame is not None and seen.frame is not drawn:
                    drawn = seen.frame
                    shown = picture(drawn)
                    trends.add(shown)
                lines = screen(seen, shown, trends, *console.size)
                live.update(Text("\n").join(Text(*line) for line in lines), refresh=True)
                await observer.news(REDRAWN_S)
    finally:
        following.cancel()


@contextmanager
def _leaving_by_q() -> Iterator[None]:
    """The keyboard without echo; `q` cancels the task that runs this."""
    task = asyncio.current_task()
    if task is None or not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        if b"q" in (keys := os.read(keyboard, 64)):
            task.cancel()
        elif not keys:  # hung up
            loop.remove_reader(keyboard)

    try:
        tty.setcbreak(keyboard)
        loop.add_reader(keyboard, pressed)
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
