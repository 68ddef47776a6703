"""`python -m experiments.stress`: what holds up, starves or drops whom, under stress.

nginy beside nginx and HAProxy where they can; one worker each, all on loopback, one scene after the
other. A figure on a busy machine is worse than the balancer: `quiet` tells how much. Exit codes: 0
all goals reached, 1 one missed, 2 something could not be measured.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from experiments.bench.__main__ import CANNOT_RUN, FLOOR_MISSED, PART_FAILURES
from experiments.bench.needs import require
from experiments.bench.program import prepare_process
from experiments.lab.systems import SYSTEMS
from experiments.stress.rig import Rig
from experiments.stress.scenes import SCENES, Figure
from experiments.stress.verdict import OURS, reached, table


@click.command(help=__doc__)
@click.option(
    "--only", "only", multiple=True, type=click.Choice(list(SCENES)), help="May be repeated."
)
def main(only: Sequence[str]) -> None:
    """Run, print, judge."""
    prepare_process()
    if os.geteuid():
        raise click.ClickException("spoofed sources and limits of other processes need root: sudo")
    figures: dict[str, dict[str, Figure]] = {}
    troubles = []
    for name in only or SCENES:
        figures[name] = {}
        for system in SCENES[name].systems:
            try:
                figures[name][system] = _measure(name, system)
            except PART_FAILURES as error:
                troubles.append(f"{name} of {system} could not be measured: {error}")
                click.echo(f"stress: {troubles[-1]}", err=True)
    click.echo("\n".join([table(figures), *troubles]))
    verdicts = [reached(SCENES[name], its) for name, its in figures.items()]
    if troubles or None in verdicts:
        sys.exit(CANNOT_RUN)
    sys.exit(0 if all(verdicts) else FLOOR_MISSED)


def _measure(name: str, system: str) -> Figure:
    """One scene of one balancer, in processes of its own. Raises as PART_FAILURES lists."""
    peer, began_s = SYSTEMS[system], time.monotonic()
    require([{"taskset": "util-linux"}, peer.needs])
    with tempfile.TemporaryDirectory(prefix="nginy-stress-") as directory:
        Path(directory).chmod(0o755)  # nginx's worker is nobody
        with Rig(Path(directory)) as rig:
            figure = SCENES[name].measure(rig, peer)
            if system == OURS:
                figure = figure._replace(lag_ms=rig.loop_lag_ms())
    took_s = time.monotonic() - began_s
    click.echo(f"{name}: {system} {figure.value:.1f} ({took_s:.0f} s)", err=True)
    return figure


if __name__ == "__main__":
    main()
