"""What the commands share: options, exit codes, errors."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from nginy.config.load import load
from nginy.config.model import Config
from nginy.errors import ConfigError

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


def load_or_exit(path: Path) -> Config:
    """The configuration, or every problem on standard error and exit code 2."""
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), WRONG_CONFIG)


def fail(message: str, code: int) -> NoReturn:
    """End with `message` on standard error."""
    click.echo(message, err=True)
    sys.exit(code)
