"""A run that a busy moment spoilt is made once more, by itself."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from experiments.judge.verdict import Verdict
from experiments.tables.sweep import DISTURBED


def run_patiently(
    run_once: Callable[[Path], Verdict], folder: Path, say: Callable[[str, Path], None]
) -> Verdict:
    """The verdict of the run in `folder`, which is the second one where the first was disturbed.

    Once, and only where a busy moment explains all that failed: what is wrong with the network or
    the system under test would be wrong again. The first run keeps its verdict in a folder beside
    (`<folder>-disturbed`); `say` is told what disturbed it, and where it is.
    """
    first = run_once(folder)
    if first.disturbance is None:
        return first
    kept = _beside(folder)
    folder.rename(kept)
    say(first.disturbance, kept)
    return run_once(folder)


def _beside(folder: Path) -> Path:
    """A name that is free: an earlier try of the same run may have been disturbed, too."""
    names = (f"{folder.name}{DISTURBED}{number or ''}" for number in count())
    return next(path for name in names if not (path := folder.with_name(name)).exists())
