"""`scheduler`, `worker`: machines that make runs together (`CLUSTER=` of sweep and simulate)."""

import asyncio
import importlib.util
import os
from contextlib import AsyncExitStack

import click

from experiments.commands.common import console
from experiments.lab.doctor import report

PORT = 8786
JOIN_S = 10
"""A worker that finds no scheduler for so long gives up."""


def need_dask(*, quiet: bool = False) -> None:
    """Raises ClickException where it is not installed. `quiet`: it says nothing by itself."""
    if importlib.util.find_spec("distributed") is None:
        raise click.ClickException(
            "a cluster needs Dask: make with CLUSTER=, make scheduler and make worker install it"
        )
    if quiet:
        # Read when it is imported, here and in the workers' own processes.
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")


@click.command()
@click.option(
    "--listen",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Whoever reaches it can execute anything as the workers' user.",
)
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True)
def scheduler(listen: str, port: int) -> None:
    """Give the runs of sweeps to the workers that join; until Ctrl-C."""
    need_dask(quiet=True)
    from distributed import Scheduler

    async def serve() -> None:
        async with Scheduler(host=listen, port=port, dashboard=False) as running:
            console.print(f"scheduler at {running.address}; make worker SCHEDULER=that joins it")
            await running.finished()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise click.ClickException(f"{listen}:{port}: {error}") from None


@click.command()
@click.argument("address", metavar="SCHEDULER")
@click.option("--processes", type=click.IntRange(1), help="Default: one for each processor.")
def worker(address: str, processes: int | None) -> None:
    """Make runs for a scheduler (tcp://host:8786), until it ends or Ctrl-C.

    As root, on a machine where `doctor` finds all there is to find, also those in virtual networks,
    one at a time.
    """
    need_dask(quiet=True)
    from distributed import Nanny, Worker

    from experiments.run.cluster import TESTBED

    able = os.geteuid() == 0 and all(finding.state != "missing" for finding in report())

    async def serve() -> None:
        async with AsyncExitStack() as own:
            several = [
                Nanny(address, nthreads=1, death_timeout=JOIN_S, dashboard_address=None)
                for _ in range(processes or os.cpu_count() or 1)
            ]
            # Without a nanny, whose child may have no children: a network is built by some.
            alone = [
                Worker(address, nthreads=1, resources={TESTBED: 1}, death_timeout=JOIN_S)
                for _ in range(able)
            ]
            for each in (*several, *alone):
                await own.enter_async_context(each)
            kinds = f"{len(several)} for simulations, {len(alone)} for virtual networks"
            console.print(f"joined {address}: {kinds}")
            await asyncio.gather(*(each.finished() for each in (*several, *alone)))

    try:
        asyncio.run(serve())
    except (OSError, TimeoutError, ValueError) as error:
        raise click.ClickException(f"SCHEDULER={address}: nobody answers ({error})") from None
