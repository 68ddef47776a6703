"""`figures`, `compare`, `doctor`: what needs no new run."""

import sys
from pathlib import Path

import click

from experiments.analysis.summary import sweep_table
from experiments.commands.common import EXIT_FAILED, console, figures_option, results_option
from experiments.lab.doctor import report, show
from experiments.lab.ownership import hand_back
from experiments.present.compare import chosen_runs, draw_comparison, other_differences
from experiments.present.draw import draw_all, draw_shapes
from experiments.present.notebook import store_outputs, write_page
from experiments.present.terminal import show_sweep


@click.command()
@figures_option
@results_option
def figures(figures: str, results: Path) -> None:
    """Draw the figures of all valid runs and of all sweeps again; needs no root, no network."""
    for path in draw_all(results, anyway=figures == "anyway"):
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
