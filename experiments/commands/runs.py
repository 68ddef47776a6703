"""`run`: one run."""

import sys
from pathlib import Path
from typing import Any

import click

from experiments.commands.common import (
    EXIT_INVALID,
    SCENARIOS,
    console,
    figures_option,
    given,
    need_root,
    results_option,
    with_overrides,
)
from experiments.commands.making import run_id, run_scenario
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import load_scenario, named_file
from experiments.present.draw import draw_run
from experiments.present.terminal import show_run
from experiments.tables.dataset import load_run


@click.command()
@click.option(
    "--scenario",
    "path",
    help="Scenario file, or the name of one in experiments/scenarios; the options below override "
    "single values of it. Default: default, with --proto udp: udp.",
)
@with_overrides
@figures_option
@results_option
def run(path: str | None, figures: str, results: Path, **overrides: Any) -> None:
    """Make one run, draw its figures, print its summary."""
    asked = path or ("udp" if overrides["proto"] == "udp" else "default")
    scenario = load_scenario(named_file(asked, SCENARIOS), given(overrides))
    need_root("run")
    folder = results / scenario.name / run_id(scenario)
    try:
        verdict = run_scenario(scenario, folder, scenario.algorithm)
        finished = load_run(folder)
        drawn = verdict.valid or figures == "anyway"
        show_run(finished, draw_run(finished) if drawn else [], console)
    finally:
        hand_back(results)
    if not verdict.valid:
        sys.exit(EXIT_INVALID)
