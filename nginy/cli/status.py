"""`nginy status`: what a running process does, asked over its Unix socket."""

import asyncio
import json
from pathlib import Path

import click

from nginy.cli.common import CANNOT_RUN, fail
from nginy.cli.status_text import status_lines
from nginy.cli.whom import whom, whom_options
from nginy.view.ask import NoStatus


@click.command()
@whom_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(path: Path | None, socket_at: Path | None, rule: str | None, as_json: bool) -> None:
    """Show what the rules and backends of a running process do, and how they are.

    Counts are since its start, bytes those of live connections included. Asking changes nothing.
    The process is found by the path of its file and the user it runs as.

    \b
    nginy status -c nginy.yaml
    nginy status --socket /run/lb.sock --rule web --json
    """
    try:
        document = asyncio.run(whom(path, socket_at, rule).ask())
    except NoStatus as error:
        fail(str(error), CANNOT_RUN)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join(status_lines(document)))
