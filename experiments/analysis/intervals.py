"""Confidence intervals over replicates. One run is one sample; its requests are not independent."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
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


def paired_difference(
    first: "pd.Series[float]", second: "pd.Series[float]", confidence: float = 0.95
) -> Interval:
    """`first` - `second`, paired by index (the seed).

    With common random numbers both saw the same workload, so what it contributes to both cancels
    and the interval is narrower than that of two independent means. Unpaired values are left out.
    """
    return t_interval((first - second).dropna().to_list(), confidence)
