"""Runs are made, with what is said of each."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from experiments.analysis.compare import widest_pct
from experiments.analysis.summary import sweep_table
from experiments.commands.common import console
from experiments.judge.verdict import Verdict
from experiments.plan.scenario import Scenario
from experiments.plan.sweep import Cell, Sweep, cells, column
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_reasons, show_repeat
from experiments.run.emulated import run_experiment
from experiments.run.engine import in_processes
from experiments.run.repeat import run_patiently
from experiments.run.sweep import run_sweep
from experiments.simulation.replications import simulate_one
from experiments.tables.dataset import load_run
from experiments.tables.sweep import runs_of

Arm = Literal["emulate", "simulate"]


def make_until_known(matrix: Sweep, source: str, folder: Path, arm: Arm) -> int:
    """Its replicates, and more where it asks for that and they do not suffice; how many runs came
    out invalid. Says what was not reached."""
    replicates = matrix.replicates
    while True:
        invalid = _make_runs(cells(matrix, source, replicates), folder, arm)
        if matrix.most_replicates is None:
            return invalid
        table = sweep_table(runs_of(matrix, folder), matrix.factors)
        width_pct = widest_pct(table, [column(name) for name in matrix.factors])
        reached = width_pct <= matrix.half_width_pct
        console.print(
            f"{replicates} replicates: mean p99 known within {width_pct:.1f} % in every cell "
            f"(wanted {matrix.half_width_pct:g} %)"
        )
        if reached or replicates >= matrix.most_replicates:
            if not reached:
                console.print("[yellow]not reached[/]: more replicates than most_replicates needed")
            return invalid
        replicates += 1


def _make_runs(todo: list[Cell], folder: Path, arm: Arm) -> int:
    """Those that are missing; how many came out invalid."""

    def emulate_one(number: int, cell: Cell, at: Path) -> bool:
        return run_scenario(cell.scenario, at, f"{number}/{len(todo)} {cell.run_id}").valid

    if arm == "emulate":
        made = run_sweep(todo, folder, emulate_one)
    else:
        made = run_sweep(todo, folder, simulate_one, in_processes)
    invalid = 0
    for number, (cell, outcome) in enumerate(made, start=1):
        invalid += outcome == "invalid"
        console.print(f"{number}/{len(todo)} {cell.run_id}: {outcome}", highlight=False)
        show_reasons(load_run(folder / cell.run_id), console)
    return invalid


def run_scenario(scenario: Scenario, folder: Path, title: str) -> Verdict:
    """Make one run, and once more if a busy moment spoilt it; says how far it is."""

    def run_once(at: Path) -> Verdict:
        with RunProgress(console, title) as progress:
            return run_experiment(scenario, at, progress)

    return run_patiently(run_once, folder, lambda why, kept: show_repeat(why, kept, console))


def run_id(scenario: Scenario) -> str:
    """Of a run outside of a sweep: when, and of what."""
    link = scenario.client_link()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    udp = "-udp" if scenario.protocol == "udp" else ""
    system = "" if scenario.system == "nginy" else f"-{scenario.system}"
    return (
        f"{stamp}{system}-{scenario.algorithm}{udp}-loss{link.loss_pct:g}-delay{link.delay_ms:g}"
        f"-seed{scenario.seed}"
    )
