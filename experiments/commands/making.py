"""Runs are made, with what is said of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from experiments.analysis.compare import widest_pct
from experiments.analysis.summary import sweep_table
from experiments.commands.cluster import need_dask
from experiments.commands.common import console
from experiments.judge.verdict import Verdict
from experiments.plan.scenario import Scenario
from experiments.plan.sweep import Cell, Sweep, cells, column
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_reasons, show_repeat
from experiments.run.emulated import run_experiment
from experiments.run.engine import Engine, Run, in_own_process, in_processes, one_by_one
from experiments.run.repeat import run_patiently
from experiments.run.sweep import run_sweep
from experiments.simulation.replications import simulate_one
from experiments.tables.dataset import load_run
from experiments.tables.sweep import runs_of

Arm = Literal["emulate", "simulate"]


@contextmanager
def engine_of(arm: Arm, cluster: str | None) -> Iterator[Engine]:
    """Where runs of this arm are made; `cluster`: the address of one, None for this machine."""
    if cluster is None:
        yield one_by_one if arm == "emulate" else in_processes
        return
    need_dask()
    from experiments.run.cluster import LOCAL, TESTBED, Cluster

    if arm == "emulate" and cluster == LOCAL:
        raise click.UsageError(
            f"CLUSTER={LOCAL}: runs in a virtual network need a machine each; ARM=simulate, or the "
            "address of a scheduler that other machines have joined"
        )
    with Cluster(cluster, resources={TESTBED: 1} if arm == "emulate" else None) as engine:
        yield engine


def make_until_known(
    matrix: Sweep, source: str, folder: Path, arm: Arm, cluster: str | None = None
) -> int:
    """Its replicates, and more where it asks for that and they do not suffice; how many runs came
    out invalid. Says what was not reached."""
    with engine_of(arm, cluster) as engine:
        return _make_until_known(matrix, source, folder, arm, engine)


def _make_until_known(matrix: Sweep, source: str, folder: Path, arm: Arm, engine: Engine) -> int:
    replicates = matrix.replicates
    while True:
        invalid = _make_runs(cells(matrix, source, replicates), folder, arm, engine)
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


def _make_runs(todo: list[Cell], folder: Path, arm: Arm, engine: Engine) -> int:
    """Those that are missing; how many came out invalid."""

    def emulate_here(number: int, cell: Cell, at: Path) -> bool:
        return run_scenario(cell.scenario, at, f"{number}/{len(todo)} {cell.run_id}").valid

    run: Run = simulate_one
    if arm == "emulate":
        run = emulate_here if engine is one_by_one else partial(in_own_process, emulate_elsewhere)
    made = run_sweep(todo, folder, run, engine)
    invalid = 0
    for number, (cell, outcome) in enumerate(made, start=1):
        invalid += outcome == "invalid"
        console.print(f"{number}/{len(todo)} {cell.run_id}: {outcome}", highlight=False)
        show_reasons(load_run(folder / cell.run_id), console)
    return invalid


def emulate_elsewhere(_: int, cell: Cell, at: Path) -> bool:
    """As `run_scenario`, where nobody looks."""

    def run_once(folder: Path) -> Verdict:
        with RunProgress(Console(quiet=True), cell.run_id) as progress:
            return run_experiment(cell.scenario, folder, progress)

    return run_patiently(run_once, at, lambda *_: None).valid


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
