"""`nginy web`: what `nginy top` shows, on a page."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import click

from nginy.cli.common import CANNOT_RUN, fail
from nginy.cli.top import NEEDS, interval_option
from nginy.cli.whom import whom, whom_options
from nginy.view.guard import Guard
from nginy.view.observer import Observer

NICE = 10
"""The balancer comes first."""


@click.command()
@whom_options
@interval_option
@click.option(
    "--listen",
    "address",
    default="127.0.0.1",
    show_default=True,
    help="An address of this machine; one that others reach gets a random token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9901,
    show_default=True,
    help="Or the next one that is free.",
)
def web(
    path: Path | None,
    socket_at: Path | None,
    rule: str | None,
    period_s: float,
    address: str,
    port: int,
) -> None:
    """Show what `nginy top` shows on a page, which only reads.

    A process of its own, which asks the balancer over its status socket, however many look at it.
    /frame is the newest frame as JSON.

    \b
    nginy web -c nginy.yaml
    nginy web --socket /run/lb.sock --listen 192.0.2.7 --port 8000
    """
    process = whom(path, socket_at, rule)
    os.nice(NICE)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(Observer(process.ask), period_s, address, port))


async def _serve(observer: Observer, period_s: float, address: str, port: int) -> None:
    try:
        from nginy.view.door import listen, serve, url
        from nginy.view.page import application
    except ImportError as error:
        needs = NEEDS.format(library=error.name)
        fail(f"nginy web {needs}", CANNOT_RUN)
    guard = Guard.at(address)
    try:
        door = listen(address, port)
    except OSError as error:
        fail(str(error), CANNOT_RUN)
    await observer.look()
    if problem := observer.seen().problem:
        click.echo(f"{problem} (asked again until it answers)", err=True)
    click.echo(f"open {url(door, guard)}  (Ctrl-C ends it)")
    following = asyncio.create_task(observer.follow(period_s))
    try:
        await serve(application(observer, guard), door)
    finally:
        following.cancel()
