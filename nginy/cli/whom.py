"""Which process is asked: by the file it runs with, or by its socket."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from nginy.cli.common import CANNOT_RUN, fail, load_or_exit
from nginy.config.parse import suggestion
from nginy.server.status_socket import OFF, default_path, socket_path
from nginy.view.ask import Document, NobodyThere, NoStatus, ask
from nginy.view.text import printable


class Whom(NamedTuple):
    """A process to be asked."""

    at: Path
    """Its socket."""
    remedy: str
    """What helps if nobody answers there."""

    async def ask(self) -> Document:
        """What it answers. Raises NoStatus."""
        try:
            return await ask(self.at)
        except NobodyThere as nobody:
            raise NobodyThere(f"{nobody}{self.remedy}") from None

    async def ask_or_exit(self) -> Document:
        """What it answers, or the end."""
        try:
            return await self.ask()
        except NoStatus as error:
            fail(str(error), CANNOT_RUN)


def whom_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`-c` and `--socket`, for `whom`."""
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
    return config(at(command))


def whom(path: Path | None, socket_at: Path | None) -> Whom:
    """The process that runs with the file `path`, or serves `socket_at`; the end, if it has none.

    The file is read only if nobody is where its path leads: it may be long, and may have been
    changed since the process read it.
    """
    other = "; one of another user is asked as that user, or with --socket"
    if socket_at is not None and path is None:
        return Whom(socket_at, other)
    if path is None or socket_at is not None:
        raise click.UsageError("say whom to ask: -c FILE, or --socket PATH")
    remedy = f"; start it: nginy run -c {path}{other}"
    at = default_path(path)
    if _served(at):
        return Whom(at, remedy)
    setting = load_or_exit(path).status_socket
    if setting == OFF:
        fail(f"{path}: status_socket is {OFF}, so its process cannot be asked", CANNOT_RUN)
    return Whom(socket_path(setting, path) or at, remedy)


def _served(at: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(at)) not in (errno.ENOENT, errno.ECONNREFUSED)


def keep_rule(document: Document, name: str) -> None:
    """Leave that rule alone in it, or the end."""
    names = [rule["name"] for rule in document["rules"]]
    if name not in names:
        known = ", ".join(map(printable, names))
        fail(f"no rule is called {name!r}{suggestion(name, names)} (one of {known})", CANNOT_RUN)
    document["rules"] = [document["rules"][names.index(name)]]
