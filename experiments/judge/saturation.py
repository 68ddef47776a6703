"""Who had no more of a processor to take. Pure.

A balancer that is at its limit is a result, and is said with every figure; a generator, a backend
or the link emulator at its limit is a fault of the measurement.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

SATURATED = 0.9
"""Of one core, in any second: above it queues inside of a process grow."""
SHORTEST_S = 0.5
"""Two readings that are closer say little: the clock of a reading is good to a millisecond or two,
and a process that was put off for a moment makes up for it."""


class BusySecond(NamedTuple):
    """The busiest second of a process."""

    share: float
    """Of one core."""
    at_s: float
    """Seconds since the start of load."""

    def __str__(self) -> str:
        """`97 % of a core at 12 s`."""
        return f"{self.share:.0%} of a core at {self.at_s:.0f} s".replace("%", " %")


def busiest_seconds(
    samples: pd.DataFrame, window_s: tuple[float, float]
) -> Mapping[str, BusySecond]:
    """By source, from table `samples` (quantity `cpu_s`, a total), between readings in the
    window. One whose total fell was started again in between."""
    cpu = samples[(samples["quantity"] == "cpu_s") & samples["t_s"].between(*window_s)]
    found = {}
    for source, readings in cpu.sort_values("t_s").groupby("source"):
        steps = readings[["t_s", "value"]].diff()
        rates = steps["value"] / steps["t_s"]
        rates = rates[(steps["t_s"] >= SHORTEST_S) & (steps["value"] >= 0)]
        if len(rates):
            at = int(rates.to_numpy().argmax())
            times_s = readings.loc[rates.index, "t_s"].to_numpy()
            found[str(source)] = BusySecond(float(rates.iloc[at]), float(times_s[at]))
    return found


def saturated(busiest: Mapping[str, BusySecond]) -> Mapping[str, BusySecond]:
    """Those at their limit."""
    return {name: second for name, second in busiest.items() if second.share > SATURATED}
