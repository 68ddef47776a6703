"""How evenly new connections were spread, and how even pure chance would have been. Pure.

Jain's index (Jain, Chiu, Hawe 1984) over x = picks / share, as in `experiments/analysis/`, but the
chance beside it in closed form, for a process without numpy. With Q the squared coefficient of
variation of x, J = 1 / (1 + Q). Of n random picks with probabilities p over N backends, n Q is a
quadratic form of a multinomial: mean m = (1 - 1/N) sum(1/p) / N, and close to g chi2(h) with the
same mean and variance v, g = v / 2m, h = 2 m^2 / v (Satterthwaite 1946); of equal p exactly
chi2(N - 1), Pearson's statistic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

TAIL = 0.001
"""As `experiments` judges: once in a thousand each way."""
LEAST_EXPECTED = 5.0
"""Picks of each backend by chance, below which chi2 says little (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class Fairness:
    """Jain's index beside chance."""

    jain: float
    low: float
    """One in a thousand random assignments is below it."""
    evenness: str
    """In words: against that, and against one in a thousand that is above."""
    picks: int
    seconds: float
    """Over which they were counted."""


def jain(amounts: Sequence[float], shares: Sequence[float]) -> float:
    """Jain's index of `amounts` per share; NaN when nothing was given to anybody."""
    x = [amount / share for amount, share in zip(amounts, shares, strict=True)]
    squares = sum(one * one for one in x)
    return sum(x) ** 2 / (len(x) * squares) if squares > 0 else math.nan


def fairness(picks: Sequence[int], shares: Sequence[float], seconds: float) -> Fairness | None:
    """Of `picks` per backend, each with a share above 0; None: too few, or nobody to compare."""
    total, whole = sum(picks), sum(shares)
    if len(picks) < 2 or total * min(shares) < LEAST_EXPECTED * whole:
        return None
    found = jain(picks, shares)
    lowest, highest = chance(total, tuple(share / whole for share in shares))
    evenness = "within chance"
    if found < lowest:
        evenness = "less even than chance"
    elif found > highest:
        evenness = "more even than chance"
    return Fairness(found, lowest, evenness, total, seconds)


def chance(picks: int, shares: tuple[float, ...]) -> tuple[float, float]:
    """What Jain's index of so many random picks is below, and above, once in a thousand.

    `shares` sum to 1. Counts are whole: where even the most even assignment comes more often than
    that, nothing is above (two backends hardly ever: 250 and 250 of 500 is one in 28).
    """
    scale, freedom = _moments(shares)
    below, above = (1 / (1 + scale * _chi2_quantile(q, freedom) / picks) for q in (1 - TAIL, TAIL))
    return below, above if _most_even(picks, shares) < TAIL else 1.0


def _most_even(picks: int, shares: Sequence[float]) -> float:
    """How probable the likeliest of all assignments is (the multinomial's local limit)."""
    logarithms = sum(math.log(share) for share in shares)
    return math.exp(-((len(shares) - 1) * math.log(2 * math.pi * picks) + logarithms) / 2)


@lru_cache(maxsize=64)
def _moments(shares: tuple[float, ...]) -> tuple[float, float]:
    """g and h of the module's text."""
    count = len(shares)
    inverse = [1 / share for share in shares]
    total, squares = sum(inverse), sum(one * one for one in inverse)
    mean = (1 - 1 / count) * total / count
    crossed = (total * total - squares) / count**2
    variance = 2 * (squares * (1 - 1 / count) ** 2 + crossed) / count**2
    return variance / (2 * mean), 2 * mean * mean / variance


@lru_cache(maxsize=256)
def _chi2_quantile(probability: float, freedom: float) -> float:
    """By bisection, to a millionth of its size."""
    low, high = 0.0, freedom + 10.0
    while _chi2_below(high, freedom) < probability:
        high *= 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if _chi2_below(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return high


def _chi2_below(value: float, freedom: float) -> float:
    """P(chi2 <= value): the series of the incomplete gamma function (Abramowitz, Stegun 6.5.29)."""
    a, x = freedom / 2, value / 2
    if x <= 0:
        return 0.0
    term = total = 1.0
    place = a
    while term > 1e-12 * total:
        place += 1
        term *= x / place
        total += term
    return total * math.exp(a * math.log(x) - x - math.lgamma(a + 1))
