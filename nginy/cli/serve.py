"""`nginy run` and `nginy check`."""

import logging
from collections.abc import Sized
from pathlib import Path

import click

from nginy.cli.common import CANNOT_RUN, WRONG_CONFIG, config_option, fail, load_or_exit
from nginy.engine.log import logging_to_standard_error
from nginy.errors import NginyError
from nginy.server.process import hold_signals, open_standard_descriptors, pause_collector
from nginy.server.process import run as run_process
from nginy.server.status_socket import socket_path

log = logging.getLogger(__name__)


@click.command()
@config_option
@click.option("--seed", type=int, help="Make random choices repeatable (for experiments).")
@click.option("-v", "--verbose", is_flag=True, help="Log details, too.")
def run(path: Path, seed: int | None, verbose: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    The first signal stops accepting and lets connections finish for up to drain_timeout_ms, a
    second one closes them at once. SIGUSR1 opens `access_log` again, for log rotation. SIGHUP
    (there is no reload yet), SIGUSR2, SIGQUIT and SIGALRM change nothing, and are answered in the
    log. Logs go to standard error, close records to `access_log`.

    \b
    nginy run -c nginy.yaml
    nginy run -c nginy.yaml --seed 1 2> nginy.log
    """
    hold_signals()
    pause_collector()
    config = load_or_exit(path)
    open_standard_descriptors()
    try:
        with logging_to_standard_error(logging.DEBUG if verbose else logging.INFO):
            for warning in config.warnings:
                log.warning("%s", warning)
            run_process(config, seed, socket_path(config.status_socket, path))
    except NginyError as error:
        fail(str(error), CANNOT_RUN)


@click.command()
@config_option
@click.option("--strict", is_flag=True, help="A warning is an error.")
def check(path: Path, strict: bool) -> None:
    """Check a configuration file: a one-line summary, or every error with file, line and key.

    What can be served but hardly is what was meant is warned of. Exit code 0: it is right; 2: it
    is not.

    \b
    nginy check -c nginy.yaml && systemctl restart nginy
    """
    config = load_or_exit(path)
    ports = ", ".join(f"{port}/{protocol}" for protocol, port in config.ports)
    name = click.format_filename(path)
    rules, backends = _count(config.rules, "rule"), _count(config.backends, "backend")
    click.echo(f"{name}: {rules}, {backends}, {_count(config.ports, 'port')} {ports}")
    warnings = [f"{name}: warning: {clash}"] if (clash := config.report_clash) else []
    warnings += map(str, config.warnings)
    for warning in warnings:
        click.echo(warning, err=True)
    if warnings and strict:
        fail(f"{name}: {_count(warnings, 'warning')}, and none is allowed (--strict)", WRONG_CONFIG)


def _count(things: Sized, name: str) -> str:
    return f"1 {name}" if len(things) == 1 else f"{len(things)} {name}s"
