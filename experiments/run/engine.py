"""Where the runs of a sweep are made: one after another, several at once in processes, or on the
workers of a cluster (`cluster.py`).

What comes out does not depend on it: a run is a function of its scenario.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from experiments.plan.sweep import Cell


class Job(NamedTuple):
    """One run that is to be made."""

    number: int
    """Its place in the sweep, from 1."""
    cell: Cell
    path: Path


Run = Callable[[int, Cell, Path], bool]
"""Makes a job's run, and says whether it is valid."""
Engine = Callable[[Iterable[Job], Run], Iterator[tuple[Job, bool]]]


def one_by_one(jobs: Iterable[Job], run: Run) -> Iterator[tuple[Job, bool]]:
    """In their order: what is measured in real time has the machine to itself."""
    for job in jobs:
        yield job, run(*job)


def in_processes(
    jobs: Iterable[Job], run: Run, workers: int | None = None
) -> Iterator[tuple[Job, bool]]:
    """As they end; one for each processor at a time. `run` is a function of a module.

    An error in one of them, or Ctrl-C, ends all: what they were making is unfinished and counts as
    not made.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), context, _leave_at_once) as pool:
        before = set(multiprocessing.active_children())
        at_work: dict[Future[bool], Job] = {}
        try:
            at_work |= {pool.submit(run, *job): job for job in jobs}
            for done in as_completed(at_work):
                yield at_work[done], done.result()
        except BaseException:
            # Their pool gives up what waits and reaps them; nobody else may.
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
            raise


def in_own_process(run: Run, number: int, cell: Cell, path: Path) -> bool:
    """In a process that has its main thread to itself, which a run in a virtual network needs."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(run, number, cell, path).result()


def _leave_at_once() -> None:
    """Ctrl-C reaches the whole group; a trace from each process would say nothing."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
