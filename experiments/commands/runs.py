"""`run`: one run."""

import sys
import time
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
    point_latest,
    results_option,
    with_overrides,
    write_pages,
)
from experiments.commands.making import run_id, run_scenario
from experiments.lab.host_load import HostMeter
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import Scenario, load_scenario, named_file
from experiments.present.draw import draw_run
from experiments.present.terminal import show_run
from experiments.tables.dataset import load_run

LOOK_S = 0.5
ENOUGH_IDLE_PCT = 60.0
"""A run of the default scenario takes about a quarter of two processors."""
MUCH_STOLEN_PCT = 5.0


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
    say_if_busy(scenario)
    folder = results / scenario.name / run_id(scenario)
    try:
        verdict = run_scenario(scenario, folder, scenario.algorithm)
        point_latest(results, folder)
        finished = load_run(folder)
        drawn = verdict.valid or figures == "anyway"
        show_run(finished, draw_run(finished) if drawn else [], console)
        write_pages(results, folder)
    finally:
        hand_back(results)
    if not verdict.valid:
        sys.exit(EXIT_INVALID)


def say_if_busy(scenario: Scenario) -> None:
    """Look before the start: on a machine that is busy already, say so, and what would help."""
    meter = HostMeter()
    time.sleep(LOOK_S)
    load = meter.read()
    if load.idle_pct >= ENOUGH_IDLE_PCT and load.steal_pct <= MUCH_STOLEN_PCT:
        return
    who = f": {load.busiest}" if load.busiest else ""
    stolen = f", {load.steal_pct:.0f} % lent to others" if load.steal_pct > MUCH_STOLEN_PCT else ""
    offered = scenario.workload.offered_load
    less = (
        "" if offered is None else f", or a lower load (LOAD={offered * load.idle_pct / 100:.1g})"
    )
    console.print(
        f"[yellow]this machine is busy[/] ({load.idle_pct:.0f} % idle{stolen}{who}): the run may "
        f"be refused as late; ending what is busy helps{less}",
        highlight=False,
        soft_wrap=True,
    )
