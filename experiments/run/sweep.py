"""A sweep's runs are made, one after another; it can be resumed.

Every run has a folder of its own. A finished valid run is skipped, so an interrupted sweep goes on
where it stopped and a changed sweep repeats only what changed.
"""

import fcntl
import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from experiments.plan.sweep import Cell
from experiments.tables.dataset import is_complete, load_run
from experiments.tables.sweep import INVALID
from nginy.errors import NginyError


class SweepAtWork(NginyError):
    """Another sweep is making its runs in the same folder."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """For one sweep at a time: it removes unfinished runs, which may be those of another.

    Raises:
        SweepAtWork: another one holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepAtWork(f"{folder}: another sweep is making its runs there") from None
        yield


def _kept_beside(path: Path) -> Path:
    numbers = (path.with_name(f"{path.name}{INVALID}{number}") for number in itertools.count(1))
    return next(name for name in numbers if not name.exists())


def run_sweep(
    todo: list[Cell], folder: Path, run: Callable[[int, Cell, Path], bool]
) -> Iterator[tuple[Cell, Literal["skipped", "valid", "invalid"]]]:
    """Make each run that is not there yet; `run` makes one and says whether it is valid.

    `run` is given the cell's place in `todo`, from 1, the cell and its folder.

    An unfinished folder of an interrupted run, and an invalid run, are made anew; the invalid one
    is kept beside, with its reasons.
    """
    for number, cell in enumerate(todo, start=1):
        path = folder / cell.run_id
        if is_complete(path) and load_run(path).verdict["valid"]:
            yield cell, "skipped"
            continue
        if is_complete(path):
            path.rename(_kept_beside(path))
        elif path.exists():
            shutil.rmtree(path)
        yield cell, "valid" if run(number, cell, path) else "invalid"
