"""What commands share: options, exit codes, where results are."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from experiments.lab.systems import SYSTEMS
from experiments.plan.network import SHAPES
from experiments.present.pages.renew import renew
from experiments.present.terminal import show_page
from nginy.balancer.registry import ALGORITHMS

HERE = Path(__file__).parents[1]
SCENARIOS = HERE / "scenarios"
SWEEPS = HERE / "sweeps"
STUDIES = HERE / "studies"
EXIT_FAILED, EXIT_USAGE, EXIT_INVALID, EXIT_INTERRUPTED = 1, 2, 3, 130

console = Console()
results_option = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=HERE.parent / "results",
    help="Folder of all results.",
)
figures_option = click.option(
    "--figures",
    type=click.Choice(["valid", "anyway"]),
    default="valid",
    help="anyway: also of a run that is not valid, with that written across them.",
)


arm_option = click.option(
    "--arm",
    type=click.Choice(["emulate", "simulate"]),
    default="emulate",
    help="In a virtual network, as root, or in virtual time, in a folder of its own.",
)

cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="On the workers of a Dask scheduler (tcp://host:8786), or local: this machine's.",
)


OPTIONS = (
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
    click.option("--backends", type=click.IntRange(1, 100_000), help="Number of backends."),
    click.option("--clients", type=click.IntRange(1, 100_000), help="Number of client hosts."),
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


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """The options that stand for single settings (`KEYS`)."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


KEYS = {
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


def given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted name, what the command line says."""
    return {KEYS[name]: value for name, value in overrides.items() if value is not None}


def need_root(command: str) -> None:
    """Raise ClickException, saying how to get it, for anybody else."""
    if os.geteuid() != 0:
        raise click.ClickException(
            f"virtual networks need root: sudo {sys.executable} -m experiments {command} "
            "(or the make target, which asks for it)"
        )


def write_pages(results: Path, folder: Path) -> None:
    """The pages of what was made in `folder`, and the list of all results; nothing happens where
    there is no such folder.

    What is finished and judged by then stays so, whatever goes wrong here, and that is said.
    """
    if not folder.is_dir():
        return
    try:
        page = renew(results, folder)
    except Exception as error:
        console.print(
            f"  [red]no page[/]  {escape(f'{type(error).__name__}: {error}')}; results are "
            "complete, and `make figures` writes all pages anew",
            highlight=False,
            soft_wrap=True,
        )
    else:
        show_page(page, console)


def point_latest(results: Path, folder: Path) -> None:
    """`results/latest` leads to that run from now on; nothing happens where there are no symbolic
    links, or something else has that name."""
    latest = results / "latest"
    if latest.exists() and not latest.is_symlink():
        return
    with suppress(OSError):
        aside = results / f".latest-{os.getpid()}"
        aside.symlink_to(folder.relative_to(results), target_is_directory=True)
        aside.replace(latest)
