"""What a waiting user sees: one line per stage, and a bar while load is on."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class RunProgress:
    """Shows the stages of one run. Without a terminal (a log, CI) it prints a line per stage."""

    def __init__(self, console: Console, title: str) -> None:
        """`title` stands before every stage."""
        self._console = console
        self._title = title
        self._start_s = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(title, total=None, note="")

    def stage(self, text: str) -> None:
        """A new stage of unknown length."""
        if not self._console.is_terminal:
            elapsed_s = time.monotonic() - self._start_s
            line = f"{self._title}: {elapsed_s:5.1f} s  {text}"
            self._console.print(line, highlight=False, soft_wrap=True)
        self._bar.reset(self._task, total=None, description=f"{self._title}: {text}", note="")

    def load(self, elapsed_s: float, total_s: float) -> None:
        """The load has been on for `elapsed_s` of `total_s` seconds."""
        shown = max(0.0, min(elapsed_s, total_s))
        note = f"{shown:.0f}/{total_s:.0f} s"
        self._bar.update(self._task, total=total_s, completed=shown, note=note)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing; the bar disappears."""
        self._bar.stop()
