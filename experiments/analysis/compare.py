"""Algorithms against each other, paired by seed. Pure functions on a sweep's table.

Replicates of one seed saw the same arrivals and demands (common random numbers), so what the
workload contributes cancels in their difference, and its interval is much narrower than that of two
independent means (Law, "Simulation Modeling and Analysis", 11.2).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from experiments.analysis.intervals import Interval, t_interval
from experiments.analysis.summary import CELL, cell_intervals

PRIMARY = "p99_ms"
SAME = ("p50_ms", "p99_ms", "goodput_mbps")
"""What must not differ between the two of an A/A pair."""
_SAME_CONFIDENCE = 0.999
"""Of each: a sound sweep is distrusted once in 300."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`first` - `second` at one level of everything else."""

    first: str
    second: str
    levels: tuple[tuple[str, Any], ...]
    """Of everything else, by column."""
    value: str
    mean: float
    low: float
    high: float
    n: int
    p_holm: float
    """Of the paired t test, by Holm's correction over all differences of one value; NaN where there
    is none (fewer than two pairs, a censored value)."""

    @property
    def decided(self) -> bool:
        """Whether it can be told from none, all differences of the table together (5 %)."""
        return bool(self.p_holm < 0.05)

    @property
    def where(self) -> str:
        """`delay_ms 5.0, load 0.7`; empty where nothing else varies."""
        return ", ".join(f"{name} {level}" for name, level in self.levels)

    def __str__(self) -> str:
        """`least_conn - round_robin: p99_ms -41 [-63, -19], 8 seeds`."""
        where = f" ({self.where})" if self.where else ""
        pair = f"{self.first} - {self.second}{where}: {self.value}"
        if not np.isfinite(self.mean):
            return f"{pair}: nothing to pair, or censored, {self.n} seeds"
        if np.isnan(self.low):
            return f"{pair} {self.mean:+.3g}, {self.n} seed: no interval"
        return f"{pair} {self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}], {self.n} seeds"


def differences(
    table: pd.DataFrame,
    value: str = PRIMARY,
    *,
    factors: Sequence[str] = (),
    baseline: str | None = None,
) -> list[Difference]:
    """Of every pair of algorithms, or of each with `baseline`, at every level of all else.

    `factors`: columns of the table beside loss and delay. Intervals are 95 % each; `p_holm` is
    corrected over all of them (Holm 1979).
    """
    others = [name for name in (*CELL[1:], *factors) if table[name].nunique() > 1]
    once = table[~table["again"].astype(bool)]
    found = [
        (first, second, levels, _interval(by_seed[first], by_seed[second]))
        for levels, by_seed in _by_seed(once, value, others)
        for first, second in _pairs(by_seed.columns, baseline)
    ]
    corrected = holm([p for *_, (_, p) in found])
    return [
        Difference(first, second, levels, value, **asdict(interval), p_holm=p)
        for (first, second, levels, (interval, _)), p in zip(found, corrected, strict=True)
    ]


def widest_pct(table: pd.DataFrame, factors: Sequence[str] = (), value: str = PRIMARY) -> float:
    """Half of the widest cell's 95 % interval, in percent of its mean; infinite if one is unknown
    (fewer than two replicates, or censored)."""
    cells = cell_intervals(table, value, factors=factors)
    share = 50 * (cells["high"] - cells["low"]) / cells["mean"]
    return float(share.fillna(np.inf).max())


def same_twice(table: pd.DataFrame) -> dict[str, Interval]:
    """Of each of `SAME`, the second less the first run of the A/A pairs (99.9 %)."""
    paired = table[table["cell"].isin(table.loc[table["again"].astype(bool), "cell"])]
    found = {}
    for value in SAME:
        sides = paired.pivot_table(index=["cell", "seed"], columns="again", values=value)
        if {True, False} <= set(sides.columns):
            found[value] = t_interval((sides[True] - sides[False]).dropna(), _SAME_CONFIDENCE)
    return found


def distrusted(pairs: dict[str, Interval]) -> list[str]:
    """In which values an A/A pair differs: then what differs elsewhere may be the machine's."""
    return [
        f"{value}: {interval.low:+.3g} to {interval.high:+.3g}"
        for value, interval in pairs.items()
        if interval.low > 0 or interval.high < 0
    ]


def _by_seed(
    table: pd.DataFrame, value: str, others: Sequence[str]
) -> Iterator[tuple[tuple[tuple[str, Any], ...], pd.DataFrame]]:
    """By level of all else: seeds as rows, algorithms as columns."""
    groups = table.groupby(list(others), sort=True) if others else [((), table)]
    for key, group in groups:
        levels = tuple(zip(others, key, strict=True))
        frame = group.pivot_table(index="seed", columns="algorithm", values=value, aggfunc="last")
        yield levels, frame


def _pairs(algorithms: Iterable[str], baseline: str | None) -> list[tuple[str, str]]:
    if baseline is None:
        return list(combinations(algorithms, 2))
    return [(name, baseline) for name in algorithms if name != baseline and baseline in algorithms]


def _interval(first: "pd.Series[float]", second: "pd.Series[float]") -> tuple[Interval, float]:
    """With the two-sided p of the paired t test, over the seeds that both were run with. A pair of
    which one is censored has no difference, and then the others alone would flatter: all of it is
    left open. A seed that one lacks (an invalid run) says nothing about what it would have been;
    whether validity depends on the algorithm is asked on its own (`validity.py`)."""
    both = first.notna() & second.notna()
    censored = np.isinf(first[both]) | np.isinf(second[both])
    pairs = first[both] - second[both]
    if censored.any() or len(pairs) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), int((~censored).sum())), np.nan
    interval = t_interval(pairs)
    if interval.n < 2:
        return interval, np.nan
    if float(pairs.std(ddof=1)) == 0:
        return interval, 1.0 if interval.mean == 0 else 0.0
    return interval, float(stats.ttest_1samp(pairs, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the same order; NaN stays and does not count."""
    known = [index for index, p in enumerate(p_values) if not np.isnan(p)]
    corrected = [float("nan")] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(known, key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(known) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
