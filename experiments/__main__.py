"""The testbed's command line: `python -m experiments run | sweep | compare | figures | doctor`.

Exit codes: 0 all well; 1 something could not be started or died; 2 wrong usage, scenario or
sweep; 3 a run is invalid (its network or its measurement was not what it claims; if it was made
again by itself, that is said of the second one); 130 Ctrl-C.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments.analysis.compare import distrusted, same_twice, widest_pct
from experiments.analysis.summary import sweep_table
from experiments.judge.verdict import Verdict
from experiments.lab.doctor import report, show
from experiments.lab.ownership import hand_back
from experiments.lab.processes import ProcessFailed
from experiments.lab.systems import SYSTEMS
from experiments.plan.network import SHAPES
from experiments.plan.scenario import Scenario, ScenarioError, load_scenario, named_file
from experiments.plan.sweep import (
    Cell,
    Sweep,
    cells,
    column,
    load_sweep,
    narrowed,
    write_sweep,
)
from experiments.present.compare import chosen_runs, draw_comparison, other_differences
from experiments.present.draw import draw_all, draw_run, draw_sweep
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_reasons, show_repeat, show_run, show_sweep
from experiments.run.emulated import run_experiment
from experiments.run.repeat import run_patiently
from experiments.run.sweep import alone_in, run_sweep
from experiments.tables.dataset import load_run
from experiments.tables.sweep import SWEEP_FILE, made_of, runs_of
from nginy.balancer.registry import ALGORITHMS
from nginy.errors import NginyError
from topologies.errors import NetworkError

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
EXIT_FAILED, EXIT_USAGE, EXIT_INVALID, EXIT_INTERRUPTED = 1, 2, 3, 130

console = Console()
_results = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=HERE.parent / "results",
    help="Folder of all results.",
)
_figures = click.option(
    "--figures",
    type=click.Choice(["valid", "anyway"]),
    default="valid",
    help="anyway: also of a run that is not valid, with that written across them.",
)


_OPTIONS = (
    click.option("--proto", type=click.Choice(["tcp", "udp"]), help="What clients speak."),
    click.option(
        "--system",
        type=click.Choice(sorted(SYSTEMS)),
        help="What is measured; direct: no balancer.",
    ),
    click.option("--alg", type=click.Choice(sorted(ALGORITHMS)), help="Balancing algorithm."),
    click.option(
        "--loss",
        type=click.FloatRange(0, 100, max_open=True),
        help="Packet loss of every client link, in percent, each direction.",
    ),
    click.option(
        "--delay",
        type=click.FloatRange(0, 10_000),
        help="One-way delay of every client link in ms, each direction.",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0.1, 10_000),
        help="Rate of every client link in Mbit/s, each direction.",
    ),
    click.option("--shape", type=click.Choice(SHAPES[:-1]), help="Of the network."),
    click.option("--cc", help="TCP's congestion control in every host: cubic, reno, bbr."),
    click.option("--backends", type=click.IntRange(1, 50), help="Number of backends."),
    click.option("--clients", type=click.IntRange(1, 50), help="Number of client hosts."),
    click.option(
        "--load",
        type=click.FloatRange(0, 2, min_open=True),
        help="Offered load as a fraction of the backends' capacity.",
    ),
    click.option(
        "--duration",
        type=click.FloatRange(1, 86_400),
        help="Seconds during which requests are sent.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), help="Of arrivals, demands and packet drops."
    ),
    click.option(
        "--precision",
        type=click.Choice(["normal", "strict"]),
        help="normal: what this machine adds to latencies is stated, and refuses a run only where "
        "it could change the result; strict: narrow bounds, whatever was asked.",
    ),
    click.option(
        "--warmup", type=click.FloatRange(0, 86_400), help="Seconds at the start that do not count."
    ),
)


def _overrides(command: Callable[..., None]) -> Callable[..., None]:
    """The options that stand for single settings (`_KEYS`)."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Experiments with a real balancer in a virtual network."""


@cli.command()
@click.option(
    "--scenario",
    "path",
    help="Scenario file, or the name of one in experiments/scenarios; the options below override "
    "single values of it. Default: default, with --proto udp: udp.",
)
@_overrides
@_figures
@_results
def run(path: str | None, figures: str, results: Path, **overrides: Any) -> None:
    """Make one run, draw its figures, print its summary."""
    asked = path or ("udp" if overrides["proto"] == "udp" else "default")
    scenario = load_scenario(named_file(asked, SCENARIOS), _given(overrides))
    _need_root("run")
    folder = results / scenario.name / _run_id(scenario)
    try:
        verdict = _run(scenario, folder, scenario.algorithm)
        finished = load_run(folder)
        drawn = verdict.valid or figures == "anyway"
        show_run(finished, draw_run(finished) if drawn else [], console)
    finally:
        hand_back(results)
    if not verdict.valid:
        sys.exit(EXIT_INVALID)


_KEYS = {
    "proto": "protocol",
    "system": "system",
    "alg": "algorithm",
    "loss": "network.client_link.loss_pct",
    "delay": "network.client_link.delay_ms",
    "rate": "network.client_link.rate_mbps",
    "shape": "network.shape",
    "cc": "network.congestion_control",
    "backends": "network.backends",
    "clients": "network.clients",
    "load": "workload.load",
    "duration": "duration_s",
    "warmup": "warmup_s",
    "seed": "seed",
    "precision": "precision",
}
"""Option -> the scenario's setting that it overrides."""


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted name, what the command line says."""
    return {_KEYS[name]: value for name, value in overrides.items() if value is not None}


@cli.command()
@click.argument(
    "asked",
    metavar="[FILE|NAME]",
    default="default",
)
@_overrides
@_results
def sweep(asked: str, results: Path, **overrides: Any) -> None:
    """Make all runs of a sweep that are not there yet, then draw its figures.

    It is a file, or the name of one in experiments/sweeps (default: default). The options hold for
    all of its cells; of a factor of the sweep they leave one level.
    """
    path = named_file(asked, HERE / "sweeps")
    matrix = narrowed(load_sweep(path), _given(overrides), str(path))
    cells(matrix, str(path))  # all that is wrong with it is said before anything else
    _need_root("sweep")
    folder = results / matrix.name
    try:
        with alone_in(folder):
            write_sweep(matrix, folder / SWEEP_FILE)
            invalid = _make_until_known(matrix, str(path), folder)
        runs, made = runs_of(matrix, folder), made_of(matrix, folder)
        table = sweep_table(runs, matrix.factors)
        drawn = draw_sweep(runs, table, folder, matrix, made)
        show_sweep(table, drawn, console, matrix, made)
    except KeyboardInterrupt:
        made = made_of(matrix, folder)
        console.print(f"\nstopped: {made}; the same command goes on from there")
        raise
    finally:
        hand_back(results)
    if invalid or distrusted(same_twice(table)):
        sys.exit(EXIT_INVALID)


@cli.command()
@_figures
@_results
def figures(figures: str, results: Path) -> None:
    """Draw the figures of all valid runs and of all sweeps again; needs no root, no network."""
    for path in draw_all(results, anyway=figures == "anyway"):
        console.print(str(path), highlight=False, soft_wrap=True)


@cli.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN|ALGORITHM...")
@_results
def compare(names: tuple[str, ...], results: Path) -> None:
    """Stored runs against each other: a table, one picture, and the differences seed by seed.

    Each is a run's folder, or an algorithm: all its valid runs under the same conditions.
    """
    runs = chosen_runs(names, results)
    for difference in other_differences(runs):
        console.print(
            f"[yellow]no comparison of algorithms alone[/]: {difference}", highlight=False
        )
    table = sweep_table(runs)
    show_sweep(table, draw_comparison(runs, results / "compare"), console)
    hand_back(results)


@cli.command()
def doctor() -> None:
    """Say what this machine has and lacks, and what will be used instead."""
    sys.exit(0 if show(report(), console) else EXIT_FAILED)


def _make_until_known(matrix: Sweep, source: str, folder: Path) -> int:
    """Its replicates, and more where it asks for that and they do not suffice; how many runs came
    out invalid. Says what was not reached."""
    replicates = matrix.replicates
    while True:
        invalid = _make_runs(cells(matrix, source, replicates), folder)
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


def _make_runs(todo: list[Cell], folder: Path) -> int:
    """Those that are missing; how many came out invalid."""

    def run_one(number: int, cell: Cell, at: Path) -> bool:
        return _run(cell.scenario, at, f"{number}/{len(todo)} {cell.run_id}").valid

    invalid = 0
    for number, (cell, outcome) in enumerate(run_sweep(todo, folder, run_one), start=1):
        invalid += outcome == "invalid"
        console.print(f"{number}/{len(todo)} {cell.run_id}: {outcome}", highlight=False)
        show_reasons(load_run(folder / cell.run_id), console)
    return invalid


def _run(scenario: Scenario, folder: Path, title: str) -> Verdict:
    def run_once(at: Path) -> Verdict:
        with RunProgress(console, title) as progress:
            return run_experiment(scenario, at, progress)

    return run_patiently(run_once, folder, lambda why, kept: show_repeat(why, kept, console))


def _run_id(scenario: Scenario) -> str:
    link = scenario.client_link()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    udp = "-udp" if scenario.protocol == "udp" else ""
    system = "" if scenario.system == "nginy" else f"-{scenario.system}"
    return (
        f"{stamp}{system}-{scenario.algorithm}{udp}-loss{link.loss_pct:g}-delay{link.delay_ms:g}"
        f"-seed{scenario.seed}"
    )


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise click.ClickException(
            f"virtual networks need root: sudo {sys.executable} -m experiments {command} "
            "(or the make target, which asks for it)"
        )


def main() -> None:
    """Run the command line; errors made on purpose are one message, not a trace."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ScenarioError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except (NginyError, NetworkError, ProcessFailed) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "\ninterrupted: what was running is stopped and removed; finished runs stay", err=True
        )
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
