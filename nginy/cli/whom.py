"""Which process is asked: by the file it runs with, or by its socket."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from nginy.cli.common import CANNOT_RUN, fail, load_or_exit
from nginy.server.status_socket import OFF, default_path, socket_path
from nginy.view.ask import Document, NobodyThere, ask, of_rule


class Whom(NamedTuple):
    """A process to be asked."""

    at: Path
    """Its socket."""
    remedy: str
    """What helps if nobody answers there."""

    rule: str | None
    """The one that is wanted; None: all."""

    async def ask(self) -> Document:
        """What it answers. Raises NoStatus."""
        try:
            document = await ask(self.at)
        except NobodyThere as nobody:
            raise NobodyThere(f"{nobody}{self.remedy}") from None
        return document if self.rule is None else of_rule(document, self.rule)


def whom_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-c`, `--socket` and `--rule`, for `whom`."""
    config = click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The configuration file that the process runs with.",
    )
    at = click.option(
        "--socket",
        "socket_at",
        type=click.Path(path_type=Path),
        help="Its status_socket, instead of -c.",
    )
    rule = click.option("--rule", metavar="NAME", help="This rule alone.")
    return config(at(rule(command)))


def whom(path: Path | None, socket_at: Path | None, rule: str | None) -> Whom:
    """The process that runs with the file `path`, or serves `socket_at`; the end, if it has none.

    The file is read only if nobody is where its path leads: it may be long, and may have been
    changed since the process read it.
    """
    other = "; one of another user is asked as that user, or with --socket"
    if socket_at is not None and path is None:
        return Whom(socket_at, other, rule)
    if path is None or socket_at is not None:
        raise click.UsageError("say whom to ask: -c FILE, or --socket PATH")
    remedy = f"; start it: nginy run -c {path}{other}"
    at = default_path(path)
    if _served(at):
        return Whom(at, remedy, rule)
    setting = load_or_exit(path).status_socket
    if setting == OFF:
        fail(f"{path}: status_socket is {OFF}, so its process cannot be asked", CANNOT_RUN)
    return Whom(socket_path(setting, path) or at, remedy, rule)


def _served(at: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(at)) not in (errno.ENOENT, errno.ECONNREFUSED)
