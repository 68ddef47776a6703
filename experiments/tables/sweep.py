"""The runs of a sweep, as they are stored."""

from pathlib import Path

from experiments.plan.sweep import Sweep, cells
from experiments.tables.dataset import Run, load_runs

SWEEP_FILE = "sweep.yaml"
"""The sweep's copy in the folder of its runs: with it, its figures can be drawn again."""


def runs_of(sweep: Sweep, folder: Path) -> list[Run]:
    """The sweep's valid runs in `folder`; others there are of what the sweep once was."""
    wanted = {cell.run_id for cell in cells(sweep, str(folder / SWEEP_FILE))}
    return [run for run in load_runs(folder) if run.run_id in wanted]
