"""The command line: `nginy run | check`.

Exit codes: 0 done, 1 it could not run (a port in use, for example), 2 the configuration or the
command line is wrong.
"""

import logging
import sys
from pathlib import Path
from typing import NoReturn

import click

from nginy import __version__
from nginy.config.load import load
from nginy.config.model import Config
from nginy.errors import ConfigError, NginyError
from nginy.server.process import run as run_process

CANNOT_RUN = 1
WRONG_CONFIG = 2

config_option = click.option(
    "-c",
    "--config",
    "path",
    required=True,
    type=click.Path(path_type=Path),
    help="Configuration file (YAML).",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="nginy")
def main() -> None:
    """A layer-4 load balancer.

    \b
    nginy check -c nginy.yaml    is this file right?
    nginy run -c nginy.yaml      serve
    """


@main.command()
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
        run_process(_load_or_exit(path), seed)
    except NginyError as error:
        _exit(str(error), CANNOT_RUN)


@main.command()
@config_option
def check(path: Path) -> None:
    """Check a configuration file: a one-line summary, or every error with file, line and key.

    \b
    nginy check -c nginy.yaml && systemctl restart nginy
    """
    config = _load_or_exit(path)
    ports = ", ".join(f"{port}/{protocol}" for protocol, port in config.ports)
    click.echo(f"{path}: {len(config.rules)} rules, {len(config.backends)} backends, ports {ports}")


def _load_or_exit(path: Path) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        _exit(str(error), WRONG_CONFIG)


def _exit(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
