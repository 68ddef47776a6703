"""Whether what a study expected is so, by intervals over seeds. Pure functions on a sweep's table.

A claim holds, or is refuted, where its interval says so; all claims of a study are tested together
(Holm), so that one of many is not believed for having been lucky. Everything else is undecided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from experiments.analysis.compare import holm
from experiments.analysis.intervals import Interval, t_interval
from experiments.plan.study import Claim, Expected, Study, Where

Outcome = Literal["held", "refuted", "undecided"]
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Judged:
    """One claim: the paired difference (or the distance from the number), negative if it is so."""

    claim: Claim
    interval: Interval
    p_holm: float
    values: Mapping[str, float]
    """Means of what was compared."""

    @property
    def outcome(self) -> Outcome:
        """By the corrected test and the side."""
        if not np.isfinite(self.p_holm) or self.p_holm >= SIGNIFICANT:
            return "undecided"
        return "held" if self.interval.mean < 0 else "refuted"

    def __str__(self) -> str:
        """`held: least_conn waits less ...: served_ms 31.2 - 45.1 = -13.9 [-15.4, -12.4], 6
        seeds`"""
        numbers = " - ".join(f"{value:.4g}" for value in self.values.values())
        found = self.interval
        if not np.isfinite(found.mean):
            return f"{self.outcome}: {self.claim.say}: nothing to compare, or censored"
        around = "" if np.isnan(found.low) else f" [{found.low:+.3g}, {found.high:+.3g}]"
        return (
            f"{self.outcome}: {self.claim.say}: {self.claim.metric} {numbers} = "
            f"{found.mean:+.3g}{around}, {found.n} seeds"
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """What was expected and what was measured."""

    expected: Expected
    measured: Interval

    @property
    def inside(self) -> bool:
        """Whether the measured interval has the expected value."""
        return bool(self.measured.low <= self.expected.value <= self.measured.high)


def judge(study: Study, table: pd.DataFrame) -> list[Judged]:
    """Every claim, on the sweep's table."""
    first = table[~table["again"].astype(bool)]
    samples = [_sample(claim, first) for claim in study.claims]
    corrected = holm([_p(sample) for sample, _ in samples])
    return [
        Judged(claim, t_interval(sample) if len(sample) else _nothing(), p, values)
        for claim, (sample, values), p in zip(study.claims, samples, corrected, strict=True)
    ]


def together(judged: Sequence[Judged]) -> Outcome:
    """The hypothesis: held if all claims are, refuted if one is."""
    outcomes = {each.outcome for each in judged}
    if "refuted" in outcomes:
        return "refuted"
    return "held" if outcomes == {"held"} else "undecided"


def compared(study: Study, table: pd.DataFrame) -> list[Compared]:
    """Every expected value beside the interval of its cell."""
    first = table[~table["again"].astype(bool)]
    return [
        Compared(each, t_interval(found) if len(found) else _nothing())
        for each in study.expected
        if (found := chosen(first, each.of, each.metric).dropna()) is not None
    ]


def chosen(table: pd.DataFrame, where: Where, metric: str) -> "pd.Series[float]":
    """By seed, the metric of the runs that have these levels. KeyError names an unknown column."""
    rows = pd.Series(True, index=table.index)
    for column, level in where.items():
        if column not in table:
            raise KeyError(f"no column {column!r} in the sweep's table")
        rows &= table[column] == level
    found: pd.Series[float] = table[rows].groupby("seed")[metric].mean()
    return found


def _sample(claim: Claim, table: pd.DataFrame) -> tuple["pd.Series[float]", dict[str, float]]:
    """Differences by seed, negative where the claim is so; none if one of them is censored."""
    own = chosen(table, claim.of, claim.metric)
    if claim.than is not None:
        other = chosen(table, claim.than, claim.metric)
        both = pd.concat([own, other], axis=1, join="inner")
        difference = both.iloc[:, 0] - both.iloc[:, 1]
        values = {"of": float(own.mean()), "than": float(other.mean())}
    else:
        bound = claim.below if claim.below is not None else claim.above
        assert bound is not None
        sign = 1 if claim.below is not None else -1
        difference = sign * (own - bound)
        values = {"of": float(own.mean()), "bound": bound}
    return difference if np.isfinite(difference).all() else difference.iloc[:0], values


def _p(sample: "pd.Series[float]") -> float:
    if len(sample) < 2:
        return float("nan")
    if float(sample.std(ddof=1)) == 0:
        return 1.0 if float(sample.mean()) == 0 else 0.0
    return float(stats.ttest_1samp(sample, 0.0).pvalue)


def _nothing() -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"), 0)
