"""`arms`: emulation, simulation and theory of one scenario, beside each other."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table

from experiments.analysis.theory import reference
from experiments.commands.common import (
    EXIT_INVALID,
    SCENARIOS,
    console,
    given,
    need_root,
    results_option,
    with_overrides,
    write_pages,
)
from experiments.commands.making import run_id, run_scenario
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import Scenario, load_scenario, named_file
from experiments.present.compare import draw_comparison
from experiments.simulation.simulate import simulate
from experiments.simulation.support import refuse
from experiments.tables.dataset import Run, load_run

BOUNDS_PCT = {"mean": 5.0, "p50": 5.0, "p99": 10.0}
"""So far apart may the two arms be on an idle machine: CPU time of kernels and balancer is not
simulated, and of one run the p99 is that of some forty requests."""


@click.command()
@click.option("--scenario", "path", help="Scenario file, or the name of one; default: default.")
@with_overrides
@results_option
def arms(path: str | None, results: Path, **overrides: Any) -> None:
    """Emulate and simulate one scenario, and hold both against theory where there is one."""
    scenario = load_scenario(named_file(path or "default", SCENARIOS), given(overrides))
    refuse(scenario)
    need_root("arms")
    folder = results / scenario.name / run_id(scenario)
    named = scenario.model_copy(update={"label": f"{scenario.algorithm} simulated"})
    simulated = folder.with_name(f"{folder.name}-simulated")
    try:
        valid = [
            run_scenario(scenario, folder, f"{scenario.algorithm} emulated").valid,
            simulate(named, simulated).valid,
        ]
        runs = [load_run(folder), load_run(simulated)]
        agreed = _show(scenario, runs)
        for run in runs:
            write_pages(results, run.path)
        for drawn in draw_comparison(runs, results / "arms"):
            console.print(f"  figure   {drawn}", highlight=False, soft_wrap=True)
    finally:
        hand_back(results)
    if not (all(valid) and agreed):
        sys.exit(EXIT_INVALID)


def _show(scenario: Scenario, runs: list[Run]) -> bool:
    """The table; whether the arms are within the bounds."""
    table = Table("of answered requests, ms", "emulated", "simulated", "apart", "allowed")
    emulated, simulated = (_figures(scenario, run) for run in runs)
    agreed = True
    for name, value in emulated.items():
        apart_pct = 100 * (simulated[name] - value) / value
        bound = BOUNDS_PCT.get(name)
        agreed &= bound is None or abs(apart_pct) <= bound
        allowed = "" if bound is None else f"± {bound:g} %"
        cells = f"{value:.1f}", f"{simulated[name]:.1f}", f"{apart_pct:+.1f} %", allowed
        table.add_row(name, *cells)
    exact = reference(scenario)
    console.print(table)
    said = exact.why if exact.value_ms is None else f"{exact.value_ms:.1f} ms served, {exact.why}"
    console.print(f"  theory   {said}", highlight=False)
    for run in runs:
        valid = "valid" if run.verdict["valid"] else "; ".join(run.verdict["reasons"])
        console.print(f"  {run.run_id}: {valid}", highlight=False, markup=False, soft_wrap=True)
    return agreed


def _figures(scenario: Scenario, run: Run) -> dict[str, float]:
    requests = run.requests
    inside = requests["intended_s"].between(scenario.warmup_s, scenario.duration_s)
    done = requests[inside & (requests["status"] == "ok")]
    latency = done["latency_ms"].to_numpy()
    return {
        "mean": float(latency.mean()),
        "p50": float(np.percentile(latency, 50)),
        "p99": float(np.percentile(latency, 99)),
        "served": float((done["wait_ms"] + done["service_ms"]).mean()),
    }
