"""`study`, `studies`: questions with an expected answer, and whether it was so."""

import sys
from pathlib import Path

import click

from experiments.analysis.claims import compared, judge, together
from experiments.analysis.summary import sweep_table
from experiments.commands.common import (
    EXIT_INVALID,
    STUDIES,
    arm_option,
    cluster_option,
    console,
    results_option,
    write_pages,
)
from experiments.commands.making import Arm
from experiments.commands.sweeps import folder_of, make_sweep
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import named_file
from experiments.plan.study import Study, load_study
from experiments.present.studies import draw_claims, show_study, write_study
from experiments.tables.sweep import made_of, runs_of

_quick = click.option(
    "--quick", is_flag=True, help="Fewer and shorter runs: a first look, in a folder of its own."
)


@click.command()
@click.argument("name", metavar="NAME|FILE")
@_quick
@arm_option
@cluster_option
@results_option
def study(name: str, quick: bool, arm: Arm, cluster: str | None, results: Path) -> None:
    """Make all runs of a study that are not there yet, and judge what it expected.

    It is a file, or the name of one in experiments/studies.
    """
    path = named_file(name, STUDIES)
    if not _answer(load_study(path, quick=quick), path, results, arm, cluster):
        sys.exit(EXIT_INVALID)


@click.command()
@_quick
@arm_option
@cluster_option
@results_option
def studies(quick: bool, arm: Arm, cluster: str | None, results: Path) -> None:
    """All studies, one after another; each goes on where it stopped."""
    paths = sorted(STUDIES.glob("*.yaml"))
    trusted = [
        _answer(load_study(path, quick=quick), path, results, arm, cluster) for path in paths
    ]
    if not all(trusted):
        sys.exit(EXIT_INVALID)


def _answer(asked: Study, path: Path, results: Path, arm: Arm, cluster: str | None) -> bool:
    """Whether its runs are to be trusted; what they say is shown and stored."""
    console.rule(asked.title)
    console.print(f"[bold]{asked.question}[/]\n{asked.hypothesis}", highlight=False)
    folder = folder_of(asked.sweep, results, arm)
    try:
        trusted = make_sweep(asked.sweep, str(path), results, arm, f"study {path.stem}", cluster)
        runs = runs_of(asked.sweep, folder)
        table = sweep_table(runs, asked.sweep.factors)
        if table.empty:
            return False
        judged, beside = judge(asked, table), compared(asked, table)
        drawn = draw_claims(judged, runs, folder, made_of(asked.sweep, folder))
        write_study(asked, judged, beside, folder)
        show_study(asked, judged, beside, drawn, console)
        console.print(f"  verdict  hypothesis [bold]{together(judged)}[/]")
    finally:
        write_pages(results, folder)
        hand_back(results)
    return trusted
