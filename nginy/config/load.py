"""Reads a configuration file; every problem is reported with its line and key."""

from pathlib import Path

from nginy.config.model import Config


def load(path: Path) -> Config:
    """The configuration in the YAML file `path`. Raises ConfigError with all problems found."""
    raise NotImplementedError
