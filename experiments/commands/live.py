"""`demo`, `watch`, `frames`: a run to look at, on a page or in the terminal."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from experiments.commands.common import console, results_option
from experiments.live.aggregate import film_of
from experiments.live.follow import follow
from experiments.live.frame import Frame, Scene
from experiments.live.player import SPEEDS
from experiments.live.recorded import RECORDED, chosen_folder
from experiments.live.watch import watch as watch_run
from experiments.present.compare import other_differences
from experiments.tables.dataset import Run, load_run


def _measured(name: str, results: Path) -> Run:
    """The run of that name. Raises ClickException for one that has nothing to show."""
    run = load_run(chosen_folder(name, results))
    if not run.measured:
        raise click.ClickException(f"{run.path}: this run ended before anything was measured")
    return run


speed_option = click.option(
    "--speed",
    type=click.Choice([str(speed) for speed in SPEEDS]),
    default="1",
    help="So many seconds of the run in one second.",
)


listen_option = click.option(
    "--listen",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Where the page can be opened; an address that others reach gets a random token.",
)
port_option = click.option(
    "--port", type=click.IntRange(0, 65_000), default=8080, help="Or the next free one."
)


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN [RUN]]")
@listen_option
@port_option
@speed_option
@results_option
def demo(names: tuple[str, ...], listen: str, port: int, speed: str, results: Path) -> None:
    """Replay a stored run on a page, or two beside each other; needs no root.

    RUN: a run's folder, its name below the results, or one of the runs that are shipped
    (least_conn, the default, and round_robin: both had the same arrivals and the same faults).
    """
    if len(names) > 2:
        raise click.UsageError("one run, or two beside each other")
    runs = [_measured(name, results) for name in names or RECORDED[:1]]
    for difference in other_differences(runs):
        console.print(
            f"[yellow]no comparison of algorithms alone[/]: {difference}", highlight=False
        )
    need_web_server()
    # In the place of this process: what serves the page needs none of the analysis' libraries.
    own = ("--listen", listen, "--port", str(port), "--speed", speed)
    os.execv(
        sys.executable,
        [sys.executable, "-m", "experiments.live", *own, *[str(run.path) for run in runs]],
    )


def need_web_server() -> None:
    """Raise ClickException, saying how to get it, where there is none."""
    if importlib.util.find_spec("uvicorn") is None:
        raise click.ClickException(
            "the page's web server is not installed: make demo does it, or pip install -e '.[live]'"
        )


@click.command()
@click.argument("name", default=RECORDED[0], metavar="[RUN]")
@speed_option
@results_option
def watch(name: str, speed: str, results: Path) -> None:
    """The same in the terminal; where there is none, a line for every 5 s of the run."""
    watch_run(_measured(name, results), console, int(speed))


def _film(folder: Path) -> Iterator[Scene | Frame]:
    scene, found = film_of(load_run(folder))
    return chain([scene], found)


@click.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--follow", "growing", is_flag=True, help="The run is being made, or about to be.")
def frames(folder: Path, growing: bool) -> None:
    """A run's scene and frames as JSON lines, for those who show them."""
    for each in follow(folder) if growing else _film(folder):
        print(each.model_dump_json(), flush=True)
