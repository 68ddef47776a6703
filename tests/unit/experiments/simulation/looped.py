"""What a loop leaves, row by row."""

from typing import Any

from experiments.simulation.happened import Happened


def records(happened: Happened) -> list[Any]:
    """Its requests; what did not happen is NaN or None."""
    return list(happened.tables()["requests"].itertuples())
