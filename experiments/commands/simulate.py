"""`simulate`: one run in virtual time."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from experiments.analysis.theory import reference
from experiments.commands.common import (
    EXIT_INVALID,
    SCENARIOS,
    cluster_option,
    console,
    given,
    point_latest,
    results_option,
    with_overrides,
    write_pages,
)
from experiments.commands.making import engine_of, run_id
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import Scenario, ScenarioError, load_scenario, named_file
from experiments.present.draw import draw_run
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_run, show_simulated
from experiments.simulation.replications import replicate
from experiments.simulation.simulate import served_interval, simulate
from experiments.tables.dataset import load_run

MOST_REQUESTS = 20_000_000
SETTLES_S = 3
"""Of virtual time, where nobody says: as the default scenario."""


@click.command("simulate")
@click.option("--scenario", "path", help="Scenario file, or the name of one; default: default.")
@click.option("--requests", type=float, help="So many in all, in the place of a duration.")
@click.option("--balancers", type=click.IntRange(1, 1000), help="That know nothing of each other.")
@click.option(
    "--precision-pct",
    type=click.FloatRange(0, 100, min_open=True),
    help="More and more seeds, until the mean time at the backends is known within so much.",
)
@cluster_option
@with_overrides
@results_option
def simulate_command(
    path: str | None,
    requests: float | None,
    balancers: int | None,
    precision_pct: float | None,
    cluster: str | None,
    results: Path,
    **overrides: Any,
) -> None:
    """Make one run in virtual time: the same balancing objects, no network, no root.

    What only packets can decide is refused by name.
    """
    settings = given(overrides)
    if balancers is not None:
        settings |= {"network.shape": "chain", "network.balancers": balancers}
    file = named_file(path or ("udp" if overrides["proto"] == "udp" else "default"), SCENARIOS)
    scenario = load_scenario(file, settings)
    if cluster is not None and precision_pct is None:
        raise click.UsageError("CLUSTER: one run is made here; with PRECISION_PCT there are many")
    if requests is not None:
        duration_s = _duration_s(scenario, requests)
        scenario = load_scenario(file, settings | {"duration_s": duration_s})
    folder = results / scenario.name / f"{run_id(scenario)}-simulated"
    try:
        if precision_pct is None:
            good = _one_run(scenario, folder)
            point_latest(results, folder)
        else:
            good = _until_known(scenario, folder, precision_pct, cluster)
        write_pages(results, folder)
    finally:
        hand_back(results)
    if not good:
        sys.exit(EXIT_INVALID)


def _one_run(scenario: Scenario, folder: Path) -> bool:
    """Whether it is valid."""
    with RunProgress(console, scenario.algorithm) as progress:
        progress.stage("simulation")
        verdict = simulate(scenario, folder, _told(progress, scenario.duration_s))
    finished = load_run(folder)
    window_s = scenario.warmup_s, scenario.duration_s
    show_run(finished, draw_run(finished) if verdict.valid else [], console)
    measured = served_interval(finished.requests, window_s)
    show_simulated(measured, reference(scenario), finished.verdict, console)
    return verdict.valid


def _until_known(
    scenario: Scenario, folder: Path, precision_pct: float, cluster: str | None
) -> bool:
    """Whether the mean is known as well as was asked, by valid runs alone."""
    at_once = os.cpu_count() or 1
    exact = reference(scenario)
    known = None
    with engine_of("simulate", cluster) as engine:
        for known in replicate(scenario, folder, precision_pct, engine, at_once):
            console.print(
                f"{known.mean.n} seeds: {known.mean.mean:.2f} ms at the backends "
                f"[{known.mean.low:.2f}, {known.mean.high:.2f}], ± {known.width_pct:.2f} % "
                f"(wanted {precision_pct:g} %)",
                highlight=False,
            )
    assert known is not None
    theory = exact.why if exact.value_ms is None else f"{exact.value_ms:.2f} ms, {exact.why}"
    console.print(f"  theory   {theory}", highlight=False, soft_wrap=True)
    if known.invalid:
        console.print(f"  [red]{known.invalid} runs are not valid[/]: their folders say why")
    reached = known.width_pct <= precision_pct
    if not reached:
        console.print(
            f"  [yellow]not reached[/] with {known.mean.n} seeds: longer runs (REQUESTS=)"
        )
    return reached and not known.invalid


def _duration_s(scenario: Scenario, requests: float) -> float:
    """That offers so many. Raises ScenarioError for a number that makes no sense."""
    if requests != int(requests) or requests < 1:
        raise ScenarioError(f"REQUESTS={requests:g}: expected a whole number, at least 1")
    if requests > MOST_REQUESTS:
        hours = requests / 5000 / 3600
        raise ScenarioError(
            f"REQUESTS={requests:g}: some {hours:.0f} hours, and more memory than there is; "
            f"at most {MOST_REQUESTS:g}"
        )
    if not scenario.offered_rps():
        raise ScenarioError("REQUESTS: the workload has no load; use DURATION")
    return scenario.warmup_s + requests / scenario.offered_rps()


def _told(progress: RunProgress, duration_s: float) -> Callable[[float], None]:
    return lambda now_s: progress.load(now_s, duration_s)
