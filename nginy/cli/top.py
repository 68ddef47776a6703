"""`nginy top`: what a running process does, again and again."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import click
import orjson

from nginy.cli.common import CANNOT_RUN, fail
from nginy.cli.whom import whom, whom_options
from nginy.view.observer import Observer
from nginy.view.terminal import draw, say, text_of

NEEDS = "needs {library}, which is not installed: pip install '.[view]' in nginy's checkout"


interval_option = click.option(
    "--interval",
    "period_s",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two frames.",
)


@click.command()
@whom_options
@interval_option
@click.option("--once", is_flag=True, help="One frame over one interval, as text.")
@click.option("--json", "as_json", is_flag=True, help="With --once: for programs.")
def top(
    path: Path | None,
    socket_at: Path | None,
    rule: str | None,
    period_s: float,
    once: bool,
    as_json: bool,
) -> None:
    """Watch what the rules and backends of a running process do.

    Rates are over the last 5 s; `share` is what a backend should get of new connections now, `got`
    what it was given. Without a terminal a line every 5 s. A process that goes is waited for.

    \b
    nginy top -c nginy.yaml
    nginy top --socket /run/lb.sock --rule web --once
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    observer = Observer(whom(path, socket_at, rule).ask)
    _run(_once(observer, period_s, as_json) if once else _watch(observer, period_s))


def _run(shown: Coroutine[None, None, None]) -> None:
    """Until its end, SIGINT or SIGTERM."""

    async def until_signal() -> None:
        task = asyncio.ensure_future(shown)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await task

    with suppress(asyncio.CancelledError):
        asyncio.run(until_signal())


async def _once(observer: Observer, period_s: float, as_json: bool) -> None:
    for pause_s in (period_s, 0.0):
        await observer.look()
        if problem := observer.seen().problem:
            fail(problem, CANNOT_RUN)
        await asyncio.sleep(pause_s)
    frame = observer.seen().frame
    assert frame is not None, "no problem was said"
    if as_json:
        click.echo(orjson.dumps(frame, option=orjson.OPT_INDENT_2))
    else:
        click.echo(text_of(frame, shutil.get_terminal_size((120, 24)).columns))


async def _watch(observer: Observer, period_s: float) -> None:
    await observer.look()
    if problem := observer.seen().problem:
        fail(problem, CANNOT_RUN)
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        await say(observer, period_s, click.echo)
    try:
        await draw(observer, period_s)
    except ImportError:
        needs = NEEDS.format(library="rich")
        fail(f"nginy top on a terminal {needs} (--once and a pipe do without)", CANNOT_RUN)
