"""`sweep`: many runs, and what can be told from them."""

import sys
from pathlib import Path
from typing import Any

import click

from experiments.analysis.compare import distrusted, same_twice
from experiments.analysis.summary import sweep_table
from experiments.analysis.validity import dependent
from experiments.commands.common import (
    EXIT_INVALID,
    SWEEPS,
    arm_option,
    cluster_option,
    console,
    given,
    need_root,
    results_option,
    with_overrides,
    write_pages,
)
from experiments.commands.making import Arm, make_until_known
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import named_file
from experiments.plan.sweep import Sweep, cells, load_sweep, narrowed, write_sweep
from experiments.present.draw import draw_sweep
from experiments.present.terminal import show_sweep
from experiments.run.sweep import alone_in
from experiments.tables.sweep import SWEEP_FILE, attempts_of, made_of, runs_of


@click.command()
@click.argument(
    "asked",
    metavar="[FILE|NAME]",
    default="default",
)
@with_overrides
@arm_option
@cluster_option
@results_option
def sweep(asked: str, arm: Arm, cluster: str | None, results: Path, **overrides: Any) -> None:
    """Make all runs of a sweep that are not there yet, then draw its figures.

    It is a file, or the name of one in experiments/sweeps (default: default). The options hold for
    all of its cells; of a factor of the sweep they leave one level.
    """
    path = named_file(asked, SWEEPS)
    matrix = narrowed(load_sweep(path), given(overrides), str(path))
    cells(matrix, str(path))  # all that is wrong with it is said before anything else
    try:
        trusted = make_sweep(matrix, str(path), results, arm, "sweep", cluster)
    finally:
        write_pages(results, folder_of(matrix, results, arm))
        hand_back(results)
    if not trusted:
        sys.exit(EXIT_INVALID)


def folder_of(matrix: Sweep, results: Path, arm: str) -> Path:
    """Where its runs are."""
    return results / f"{matrix.name}{'' if arm == 'emulate' else '-simulated'}"


def make_sweep(
    matrix: Sweep, source: str, results: Path, arm: Arm, command: str, cluster: str | None = None
) -> bool:
    """Make what is missing, draw and show it; whether all of it is to be trusted."""
    if arm == "emulate" and cluster is None:
        need_root(command)
    folder = folder_of(matrix, results, arm)
    try:
        with alone_in(folder):
            write_sweep(matrix, folder / SWEEP_FILE)
            invalid = make_until_known(matrix, source, folder, arm, cluster)
    except KeyboardInterrupt:
        made = made_of(matrix, folder)
        console.print(f"\nstopped: {made}; the same command goes on from there")
        raise
    runs, made = runs_of(matrix, folder), made_of(matrix, folder)
    made = made._replace(suspicious=tuple(dependent(attempts_of(matrix, folder))))
    table = sweep_table(runs, matrix.factors)
    drawn = draw_sweep(runs, table, folder, matrix, made)
    show_sweep(table, drawn, console, matrix, made)
    return not (invalid or made.suspicious or distrusted(same_twice(table)))
