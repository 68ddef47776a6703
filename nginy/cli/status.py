"""`nginy status`: what a running process does, asked over its Unix socket."""

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from nginy.cli.common import CANNOT_RUN, fail, load_or_exit
from nginy.cli.status_text import printable, status_lines
from nginy.config.parse import suggestion
from nginy.server.status_socket import OFF, SCHEMA_VERSION, default_path, socket_path

TIMEOUT_S = 30.0
"""Of an answer: a busy process with many backends takes a while."""


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The configuration file that the process runs with.",
)
@click.option(
    "--socket",
    "socket_at",
    type=click.Path(path_type=Path),
    help="Its status_socket, instead of -c.",
)
@click.option("--rule", metavar="NAME", help="This rule alone.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(path: Path | None, socket_at: Path | None, rule: str | None, as_json: bool) -> None:
    """Show what the rules and backends of a running process do, and how they are.

    Counts are since its start, bytes those of live connections included. Asking changes nothing.
    The process is found by the path of its file and the user it runs as.

    \b
    nginy status -c nginy.yaml
    nginy status --socket /run/lb.sock --rule web --json
    """
    if path is not None and socket_at is None:
        document = _ask_process_of(path)
    elif socket_at is not None and path is None:
        document = _ask_at(socket_at)
    else:
        raise click.UsageError("say whom to ask: -c FILE, or --socket PATH")
    if rule is not None:
        _keep_rule(document, rule)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join(status_lines(document)))


def _ask_process_of(config_path: Path) -> dict[str, Any]:
    """The answer of the process that runs with this file.

    The file is read only if nobody is where its path leads: it may be long, and may have been
    changed since the process read it.
    """
    at = default_path(config_path)
    with suppress(FileNotFoundError, ConnectionRefusedError):
        return _ask(at)
    setting = load_or_exit(config_path).status_socket
    if setting == OFF:
        fail(f"{config_path}: status_socket is {OFF}, so its process cannot be asked", CANNOT_RUN)
    start = f"; start it: nginy run -c {config_path}"
    return _ask_at(socket_path(setting, config_path) or at, start)


def _ask_at(at: Path, start: str = "") -> dict[str, Any]:
    """The answer of who serves `at`, or the end."""
    try:
        return _ask(at)
    except (FileNotFoundError, ConnectionRefusedError):
        fail(
            f"no process answers at {at}{start}; one of another user is asked as that user,"
            " or with --socket",
            CANNOT_RUN,
        )


def _ask(at: Path) -> dict[str, Any]:
    """The answer. Raises FileNotFoundError or ConnectionRefusedError: nobody is there."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.connect(str(at))
            with sock.makefile("rb") as stream:
                answer = stream.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise
    except PermissionError:
        fail(f"{at}: no permission; ask as the user of the process (sudo)", CANNOT_RUN)
    except (OSError, ValueError) as error:
        fail(f"{at}: {error}", CANNOT_RUN)
    return _document(at, answer)


def _document(at: Path, answer: bytes) -> dict[str, Any]:
    try:
        document = json.loads(answer)
        version = document["schema_version"]
    except (ValueError, KeyError, TypeError):
        fail(f"{at}: {len(answer)} bytes that are no whole status", CANNOT_RUN)
    if version != SCHEMA_VERSION:
        fail(
            f"{at}: a status of version {version}; this program reads {SCHEMA_VERSION}", CANNOT_RUN
        )
    found: dict[str, Any] = document
    return found


def _keep_rule(document: dict[str, Any], name: str) -> None:
    names = [rule["name"] for rule in document["rules"]]
    if name not in names:
        known = ", ".join(map(printable, names))
        fail(f"no rule is called {name!r}{suggestion(name, names)} (one of {known})", CANNOT_RUN)
    document["rules"] = [document["rules"][names.index(name)]]
