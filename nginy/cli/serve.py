"""`nginy run` and `nginy check`."""

import logging
from collections.abc import Sized
from pathlib import Path

import click

from nginy.cli.common import CANNOT_RUN, config_option, fail, load_or_exit
from nginy.errors import NginyError
from nginy.server.process import run as run_process
from nginy.server.status_socket import socket_path


@click.command()
@config_option
@click.option("--seed", type=int, help="Make random choices repeatable (for experiments).")
@click.option("-v", "--verbose", is_flag=True, help="Log details, too.")
def run(path: Path, seed: int | None, verbose: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    The first signal stops accepting and lets connections finish for up to drain_timeout_ms, a
    second one closes them at once; SIGHUP changes nothing, as there is no reload yet. Logs go to
    standard error, close records to `access_log`.

    \b
    nginy run -c nginy.yaml
    nginy run -c nginy.yaml --seed 1 2> nginy.log
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        config = load_or_exit(path)
        run_process(config, seed, socket_path(config.status_socket, path))
    except NginyError as error:
        fail(str(error), CANNOT_RUN)


@click.command()
@config_option
def check(path: Path) -> None:
    """Check a configuration file: a one-line summary, or every error with file, line and key.

    Exit code 0: it is right; 2: it is not.

    \b
    nginy check -c nginy.yaml && systemctl restart nginy
    """
    config = load_or_exit(path)
    ports = ", ".join(f"{port}/{protocol}" for protocol, port in config.ports)
    click.echo(
        f"{path}: {_count(config.rules, 'rule')}, {_count(config.backends, 'backend')},"
        f" {_count(config.ports, 'port')} {ports}"
    )
    if clash := config.report_clash:
        click.echo(f"{path}: warning: {clash}", err=True)


def _count(things: Sized, name: str) -> str:
    return f"1 {name}" if len(things) == 1 else f"{len(things)} {name}s"
