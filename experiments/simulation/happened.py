"""What a loop leaves when nothing is due any more, whichever loop it was."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pandas as pd

from experiments.plan.scenario import Scenario

SAMPLE_INTERVAL_S = 0.1
MOST_SAMPLES = 200_000
"""Rows of all servers together: where there are many, they are sampled less often."""


class Happened(NamedTuple):
    """Every request of a plan, to its end."""

    requests: int
    """How many."""
    tables: Callable[[], dict[str, pd.DataFrame]]
    """Makes the tables `requests`, `connections`, and `samples` of the servers at
    `sample_times`."""
    finals: dict[str, dict[str, Any]]
    """The servers' last counters."""
    open_leases: int
    """Of all balancers: none is to be left."""


def sample_times(scenario: Scenario, servers: int) -> Iterator[float]:
    """When they are sampled: from the start, and once at or after the end of the load."""
    interval_s = max(SAMPLE_INTERVAL_S, scenario.duration_s * 6 * servers / MOST_SAMPLES)
    at_s = 0.0
    yield at_s
    while at_s < scenario.duration_s:
        at_s += interval_s
        yield at_s
