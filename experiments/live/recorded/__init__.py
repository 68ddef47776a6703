"""Runs that are shipped: `make experiment SCENARIO=failover` once with each algorithm, seed 1, made
small by `experiments/live/strip.py`."""

from pathlib import Path

from experiments.present.compare import NoSuchRun, run_folder

RECORDED = ("least_conn", "round_robin")


def chosen_folder(name: str, results: Path) -> Path:
    """The folder that is meant: a path, a name below `results`, or a run that is shipped.

    Raises:
        NoSuchRun: none of these.
    """
    if (found := run_folder(name, results)) is not None:
        return found
    if name in RECORDED:
        return Path(__file__).parent / name
    raise NoSuchRun(
        f"{name}: neither a run's folder, nor the name of one below {results}, nor one that is "
        f"shipped ({', '.join(RECORDED)})"
    )
