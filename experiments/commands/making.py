"""Runs are made one after another, with what is said of each."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from experiments.analysis.compare import widest_pct
from experiments.analysis.summary import sweep_table
from experiments.commands.common import console
from experiments.judge.verdict import Verdict
from experiments.plan.scenario import Scenario
from experiments.plan.sweep import Cell, Sweep, cells, column
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_reasons, show_repeat
from experiments.run.emulated import run_experiment
from experiments.run.repeat import run_patiently
from experiments.run.sweep import run_sweep
from experiments.simulation.simulate import simulate
from experiments.tables.dataset import load_run
from experiments.tables.sweep import runs_of

Make = Callable[[Scenario, Path, str], Verdict]
"""Makes a scenario's run in a folder, under a title: in real or in virtual time."""


def make_until_known(matrix: Sweep, source: str, folder: Path, make: Make) -> int:
    """Its replicates, and more where it asks for that and they do not suffice; how many runs came
    out invalid. Says what was not reached."""
    replicates = matrix.replicates
    while True:
        invalid = _make_runs(cells(matrix, source, replicates), folder, make)
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


def _make_runs(todo: list[Cell], folder: Path, make: Make) -> int:
    """Those that are missing; how many came out invalid."""

    def run_one(number: int, cell: Cell, at: Path) -> bool:
        return make(cell.scenario, at, f"{number}/{len(todo)} {cell.run_id}").valid

    invalid = 0
    for number, (cell, outcome) in enumerate(run_sweep(todo, folder, run_one), start=1):
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


def simulate_scenario(scenario: Scenario, folder: Path, title: str) -> Verdict:
    """Make one run in virtual time; says how far it is."""
    with RunProgress(console, title) as progress:
        return simulate(scenario, folder, lambda now_s: progress.load(now_s, scenario.duration_s))


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
