"""A sweep's runs are made; it can be resumed.

Every run has a folder of its own. A finished valid run is skipped, so an interrupted sweep goes on
where it stopped and a changed sweep repeats only what changed.
"""

import fcntl
import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from experiments.plan.sweep import Cell
from experiments.run.engine import Engine, Job, Run, one_by_one
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
    todo: list[Cell], folder: Path, run: Run, engine: Engine = one_by_one
) -> Iterator[tuple[Cell, Literal["skipped", "valid", "invalid"]]]:
    """Make each run that is not there yet; `run` makes one and says whether it is valid.

    An unfinished folder of an interrupted run, and an invalid run, are made anew; the invalid one
    is kept beside, with its reasons. Those that are there come first.
    """
    jobs = [Job(number, cell, folder / cell.run_id) for number, cell in enumerate(todo, start=1)]
    missing = []
    for job in jobs:
        if is_complete(job.path) and load_run(job.path).verdict["valid"]:
            yield job.cell, "skipped"
        else:
            missing.append(job)
    for job, valid in engine(map(_cleared, missing), run):
        yield job.cell, "valid" if valid else "invalid"


def _cleared(job: Job) -> Job:
    """Nothing is in the place of what it makes."""
    if is_complete(job.path):
        job.path.rename(_kept_beside(job.path))
    elif job.path.exists():
        shutil.rmtree(job.path)
    return job
