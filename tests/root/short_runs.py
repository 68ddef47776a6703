"""Runs of a few seconds."""

import io
from pathlib import Path

from rich.console import Console

from experiments.dataset import Run, load_run
from experiments.progress import RunProgress
from experiments.run import run_experiment
from experiments.scenario import Scenario


def run(asked: Scenario, folder: Path) -> Run:
    """A valid run. A busy machine may invalidate one (that is the point of a verdict): 3 tries."""
    for attempt in range(3):
        path = folder / str(attempt)
        with RunProgress(Console(file=io.StringIO()), "test") as progress:
            verdict = run_experiment(asked, path, progress)
        if verdict.valid:
            return load_run(path)
    raise AssertionError(verdict.reasons)
