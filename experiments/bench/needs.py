"""What a measurement needs of the machine."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path


class BenchError(Exception):
    """What is to be measured cannot be: something is missing, or does not do what it should."""


def require(needs: Iterable[Mapping[str, str]]) -> None:
    """`needs`: Debian packages by the command or file that they bring. Raises BenchError naming
    those that are missing."""
    missing = {
        package
        for need in needs
        for thing, package in need.items()
        if shutil.which(thing) is None and not Path(thing).exists()
    }
    if missing:
        raise BenchError(f"missing Debian packages: {', '.join(sorted(missing))}")
