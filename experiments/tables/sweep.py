"""The runs of a sweep, as they are stored."""

from pathlib import Path
from typing import NamedTuple

from experiments.plan.sweep import Sweep, cells, column, load_sweep
from experiments.tables.dataset import Run, is_complete, load_run, load_runs

SWEEP_FILE = "sweep.yaml"
"""The sweep's copy in the folder of its runs: with it, its figures can be drawn again."""
INVALID = "-invalid-"
"""In the name of a run that was made again by the next sweep, before its number."""
DISTURBED = "-disturbed"
"""In that of one that was made again at once."""


class Made(NamedTuple):
    """What became of the runs that were planned."""

    planned: int
    valid: int
    invalid: int
    made_again: int
    """Invalid ones that were made once more; they are kept beside."""
    suspicious: tuple[str, ...] = ()
    """Levels of which more runs were invalid than chance explains."""

    def __str__(self) -> str:
        """`36 runs planned, 35 valid, 1 invalid, 2 made again`; the first may be more by now."""
        return (
            f"{self.planned} runs planned, {self.valid} valid, {self.invalid} invalid, "
            f"{self.made_again} made again"
        )


def sweep_in(folder: Path) -> Sweep | None:
    """The sweep whose runs are in `folder`; None: they are of none."""
    path = folder / SWEEP_FILE
    return load_sweep(path) if path.exists() else None


def runs_of(sweep: Sweep, folder: Path) -> list[Run]:
    """The sweep's valid runs in `folder`; others there are of what the sweep once was."""
    wanted = _wanted(sweep, folder)
    return [run for run in load_runs(folder) if run.run_id in wanted]


def made_of(sweep: Sweep, folder: Path) -> Made:
    """How many of the sweep's runs there are in `folder`, of which kind."""
    least = {cell.run_id for cell in cells(sweep, str(folder / SWEEP_FILE))}
    wanted = _wanted(sweep, folder)
    done = [name for name in wanted if is_complete(folder / name)]
    valid = sum(load_run(folder / name).verdict["valid"] for name in done)
    before = (path.name for path in folder.iterdir() if path.name not in wanted)
    again = sum(not wanted.isdisjoint(_first_names(name)) for name in before)
    return Made(len(least | set(done)), valid, len(done) - valid, again)


def attempts_of(sweep: Sweep, folder: Path) -> list[tuple[dict[str, object], bool]]:
    """Levels of every run that was made, those that were made again included, and whether it was
    valid."""
    most = sweep.most_replicates or sweep.replicates
    planned = {cell.run_id: cell for cell in cells(sweep, str(folder / SWEEP_FILE), most)}
    found: list[tuple[dict[str, object], bool]] = []
    for path in sorted(folder.iterdir()):
        names = {path.name, *_first_names(path.name)} & planned.keys()
        if names and is_complete(path):
            cell = planned[names.pop()]
            link = cell.scenario.client_link()
            levels: dict[str, object] = {
                "algorithm": cell.scenario.label or cell.scenario.algorithm,
                "loss_pct": link.loss_pct,
                "delay_ms": link.delay_ms,
                **{column(name): level for name, level in cell.levels},
            }
            found.append((levels, load_run(path).verdict["valid"]))
    return found


def _first_names(name: str) -> set[str]:
    """What a folder was called before its run was made again."""
    return {name.partition(word)[0] for word in (INVALID, DISTURBED)}


def _wanted(sweep: Sweep, folder: Path) -> set[str]:
    most = sweep.most_replicates or sweep.replicates
    return {cell.run_id for cell in cells(sweep, str(folder / SWEEP_FILE), most)}
