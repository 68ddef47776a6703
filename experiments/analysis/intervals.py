"""Confidence intervals over replicates. One run is one sample; its requests are not independent."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` replicates and its two-sided Student t interval.

    `low` and `high` are NaN for fewer than two replicates: nothing is known of the spread. If a
    replicate is infinite (a censored percentile), the mean is infinite and the bounds are NaN.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2


def t_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean of independent replicates, and where their expectation lies with `confidence`.

    NaN replicates (nothing to measure in that run) are left out and not counted in `n`.
    """
    x = np.array([value for value in values if not np.isnan(value)], dtype=float)
    n = len(x)
    mean = float(x.mean()) if n else float("nan")
    if n < 2 or not np.isfinite(mean):
        return Interval(mean, float("nan"), float("nan"), n)
    quantile = float(stats.t.ppf((1 + confidence) / 2, n - 1))
    half = quantile * float(x.std(ddof=1)) / float(np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


BATCHES = 30


def batch_means(values: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Mean of one run's values in order of time, and its interval by batches: neighbours depend on
    each other, batches of many hardly (Law, "Simulation Modeling and Analysis", 9.5.3). `n` is the
    number of batches."""
    per_batch = len(values) // BATCHES
    if per_batch == 0:
        return t_interval(values.tolist(), confidence)
    used = values[: per_batch * BATCHES].reshape(BATCHES, per_batch)
    return t_interval(used.mean(axis=1).tolist(), confidence)


def mser5(values: NDArray[np.float64]) -> int:
    """How many of the first values to leave out as warm-up, at most half: the truncation that makes
    the mean of the rest most precise, looked for in steps of five (White, "An effective truncation
    heuristic for bias reduction in simulation output", Simulation 69, 1997)."""
    count = len(values) // 5
    if count < 2:
        return 0
    means = values[: count * 5].reshape(count, 5).mean(axis=1)
    left = np.arange(count, 0, -1)
    total, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    spread = (squares / left - (total / left) ** 2) / left
    return 5 * int(np.argmin(spread[: count // 2 + 1]))


def paired_difference(
    first: "pd.Series[float]", second: "pd.Series[float]", confidence: float = 0.95
) -> Interval:
    """`first` - `second`, paired by index (the seed).

    With common random numbers both saw the same workload, so what it contributes to both cancels
    and the interval is narrower than that of two independent means. Unpaired values are left out.
    """
    return t_interval((first - second).dropna().to_list(), confidence)
