"""`figures`, `compare`, `doctor`: what needs no new run."""

import sys
from itertools import chain, islice
from pathlib import Path

import click
import pandas as pd

from experiments.analysis.summary import sweep_table
from experiments.commands.common import EXIT_FAILED, console, figures_option, results_option
from experiments.lab.doctor import report, show
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import ScenarioError
from experiments.plan.workload.access_logs import FORMATS, Asked, guess, parse_log
from experiments.present.compare import chosen_runs, draw_comparison, other_differences
from experiments.present.draw import draw_all, draw_shapes
from experiments.present.notebook import store_outputs, write_page
from experiments.present.pages.renew import renew_all
from experiments.present.terminal import show_sweep


@click.command()
@figures_option
@results_option
def figures(figures: str, results: Path) -> None:
    """Draw the figures of all valid runs and of all sweeps again, and write all pages; needs no
    root, no network."""
    for path in chain(draw_all(results, anyway=figures == "anyway"), renew_all(results)):
        console.print(str(path), highlight=False, soft_wrap=True)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN|ALGORITHM...")
@results_option
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


@click.command("trace-from")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="CSV or .parquet.")
@click.option("--format", "name", type=click.Choice(sorted(FORMATS)), help="Default: looked for.")
@click.option(
    "--usual-ms",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Of requests whose log does not say how long they took.",
)
def trace_from(log: Path, out: Path, name: str | None, usual_ms: float) -> None:
    """An access log as a trace to replay: workload: {kind: trace, path: OUT}.

    Formats: web (nginx and Apache, combined), nginx-stream, haproxy (tcplog), nginy.
    """
    with log.open(errors="replace") as lines:
        name = name or guess(islice(lines, 100))
    if name is None:
        known = ", ".join(FORMATS)
        raise ScenarioError(f"{log}: its first lines are of none of {known}; --format names one")
    with log.open(errors="replace") as lines:
        parsed = parse_log(lines, name, usual_ms)
    if not parsed.rows:
        raise ScenarioError(f"{log}: no line is of format {name}; the first: {parsed.first_bad!r}")
    frame = pd.DataFrame(parsed.rows, columns=Asked._fields)
    if out.suffix == ".parquet":
        frame.to_parquet(out, index=False)
    else:
        frame.to_csv(out, index=False)
    said = f"; {parsed.bad} lines are not, the first: {parsed.first_bad!r}" if parsed.bad else ""
    console.print(f"{len(frame)} requests of format {name} in {out}{said}", markup=False)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def shapes(folder: Path) -> None:
    """Draw every shape of network into a folder (docs/images/shapes has them)."""
    for path in draw_shapes(folder):
        console.print(str(path), highlight=False)


@click.command("notebook-html")
@click.option("--store", is_flag=True, help="Store outputs of the shipped runs in the notebook.")
@results_option
def notebook_html(store: bool, results: Path) -> None:
    """Execute the notebook on the stored runs, and write it as a page beside them."""
    if store:
        console.print(str(store_outputs()), highlight=False, soft_wrap=True)
        return
    console.print(str(write_page(results, results / "analysis.html")), highlight=False)
    hand_back(results)


@click.command()
def doctor() -> None:
    """Say what this machine has and lacks, and what will be used instead."""
    sys.exit(0 if show(report(), console) else EXIT_FAILED)
