"""`live`: a run is made, and a page follows it and does things to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from experiments.commands.common import (
    SCENARIOS,
    console,
    given,
    need_root,
    point_latest,
    results_option,
    with_overrides,
)
from experiments.commands.live import listen_option, need_web_server, port_option
from experiments.commands.making import run_id
from experiments.commands.runs import say_if_busy
from experiments.lab.by_hand import ByHand
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import ScenarioError, load_scenario, named_file
from experiments.present.progress import RunProgress
from experiments.present.terminal import show_run
from experiments.run.emulated import run_experiment
from experiments.tables.dataset import load_run

_END_S = 5.0


@click.command()
@click.option("--scenario", "path", help="As of `run`.")
@with_overrides
@listen_option
@port_option
@results_option
def live(path: str | None, listen: str, port: int, results: Path, **overrides: Any) -> None:
    """Make one run that a page follows, where backends and clients' links can be done things to.

    No evidence, whatever is done: `clicked.yaml` in its folder is the scenario that repeats it as a
    run that is. The page stays until Ctrl-C.
    """
    asked = path or ("udp" if overrides["proto"] == "udp" else "default")
    scenario = load_scenario(named_file(asked, SCENARIOS), given(overrides))
    if scenario.backends.server != "emulated":
        raise ScenarioError(
            f"backends.server {scenario.backends.server}: such servers tell no page what they do "
            "while they do it: emulated ones do"
        )
    need_root("live")
    need_web_server()
    say_if_busy(scenario)
    folder = results.absolute() / scenario.name / f"{run_id(scenario)}-by-hand"
    with _page(folder, listen, port) as page:
        assert page.stdout is not None
        try:
            with RunProgress(console, scenario.algorithm) as progress:
                run_experiment(scenario, folder, progress, ByHand(page.stdout.fileno()))
            point_latest(results.absolute(), folder)
        finally:
            hand_back(results)
        show_run(load_run(folder), [], console)
        console.print("the page stays until Ctrl-C")
        with suppress(KeyboardInterrupt):
            page.wait()


@contextmanager
def _page(folder: Path, listen: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The page's server, as sudo's caller and not as root; what it says on its standard output is
    all that the run hears of it."""
    caller = {}
    if "SUDO_UID" in os.environ:
        user, group = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
        caller = {"user": user, "group": group, "extra_groups": []}
    argv = [sys.executable, "-m", "experiments.live", "--live", str(folder)]
    with subprocess.Popen(
        [*argv, "--listen", listen, "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        **caller,  # type: ignore[call-overload]
    ) as server:
        try:
            yield server
        finally:
            server.send_signal(signal.SIGINT)  # by which it ends who makes its frames, too
            try:
                server.wait(_END_S)
            except subprocess.TimeoutExpired:
                server.kill()
