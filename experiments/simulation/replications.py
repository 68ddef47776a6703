"""Replications of one scenario until its mean is known as precisely as is asked.

Sequential stopping (Law, "Simulation Modeling and Analysis", 9.4.1): runs that differ in nothing
but the seed, at least `FEWEST`, until half of the 95 % interval is within so many percent of the
mean. Looking after every round makes the interval a little too narrow, the less the more there are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.analysis.intervals import Interval, t_interval
from experiments.plan.scenario import Scenario, ScenarioError
from experiments.plan.sweep import Cell
from experiments.run.engine import Engine, Job
from experiments.simulation.simulate import served_interval, simulate
from experiments.tables.dataset import load_run

FEWEST, MOST = 10, 400


class Known(NamedTuple):
    """What the runs so far say of the mean time at the backends, in ms."""

    mean: Interval
    width_pct: float
    """Half of the interval, of the mean."""
    invalid: int


def replicate(
    scenario: Scenario, folder: Path, precision_pct: float, engine: Engine, at_once: int
) -> Iterator[Known]:
    """What is known after every round of `at_once` runs; ends when it is enough, or with `MOST`
    runs. Their folders are `r0`, `r1`, ... in `folder`.

    Raises:
        ScenarioError: a load that no steady state belongs to.
    """
    load = scenario.workload.offered_load
    if load is None or load >= 1:
        raise ScenarioError(
            f"PRECISION_PCT: at load {load if load is not None else 'none'} there is no mean that "
            "longer runs come closer to; LOAD below 1"
        )
    means: list[float] = []
    invalid = 0
    while True:
        wanted = max(FEWEST - len(means), min(at_once, MOST - len(means)))
        jobs = list(_jobs(scenario, folder, len(means), wanted))
        valid = {job.path: ok for job, ok in engine(jobs, simulate_one)}
        invalid += sum(not ok for ok in valid.values())
        # In the order of the seeds, so that the result does not depend on who was first.
        means += [_mean_ms(scenario, job.path) for job in jobs]
        found = t_interval(means)
        width_pct = 100 * found.half_width / found.mean
        yield Known(found, width_pct, invalid)
        if width_pct <= precision_pct or len(means) >= MOST:
            return


def _jobs(scenario: Scenario, folder: Path, first: int, count: int) -> Iterator[Job]:
    for number in range(first, first + count):
        seeded = scenario.model_copy(update={"seed": scenario.seed + number})
        yield Job(number + 1, Cell(seeded, number), folder / f"r{number}")


def simulate_one(number: int, cell: Cell, folder: Path) -> bool:
    """A run of a process of its own."""
    return simulate(cell.scenario, folder).valid


def _mean_ms(scenario: Scenario, path: Path) -> float:
    window_s = scenario.warmup_s, scenario.duration_s
    return served_interval(load_run(path).requests, window_s).mean
