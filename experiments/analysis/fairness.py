"""How evenly backends were used, and how even pure chance would have been. Pure functions.

**Jain's index** (Jain, Chiu, Hawe 1984, DEC-TR-301): J = (sum x)^2 / (N sum x^2) over all N
backends, also those that got nothing. x is the amount divided by the backend's weight, so 1 means
shares in proportion to the weights; 1/N means that one backend got everything.

**Noise floor**: what J is when every request is assigned at random, each backend with probability
in proportion to its weight. J falls short of 1 even then, the more so the fewer requests there
are, so no J means anything without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from experiments.analysis.throughput import in_window

FLOOR_PROBABILITY = 0.05
"""The floor's band begins where random assignment is below it in 5 % of cases."""

BIAS_PROBABILITY = 0.001
"""`fairness_verdict` calls an honest random balancer biased once in a thousand runs."""

_DRAWS = 50_000
_SEED = 20_240_607


def jain(amounts: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Jain's index of `amounts` per weight; NaN when nothing was given to anybody."""
    x = _per_weight(amounts, weights)
    squares = float((x**2).sum())
    return float(x.sum()) ** 2 / (len(x) * squares) if squares > 0 else float("nan")


def max_over_mean(amounts: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The largest amount per weight over their mean: how much capacity evenness would save.

    NaN when nothing was given. J hardly moves where this does: one of ten at double load is 0.93.
    """
    x = _per_weight(amounts, weights)
    mean = float(x.mean()) if len(x) else 0.0
    return float(x.max()) / mean if mean > 0 else float("nan")


def random_jain_mean(requests: int, backends: int) -> float:
    """E[J] of random assignment to equal backends, to second order in 1/requests.

    J = n^2/(N S) with S = sum x^2; E[S] = n + n(n-1)/N, Var(S) = 2n(n-1)(1/N)(1-1/N).
    NaN for no requests.
    """
    n, share = requests, 1.0 / backends
    if n == 0:
        return float("nan")
    mean = n + n * (n - 1) * share
    variance = 2 * n * (n - 1) * share * (1 - share)
    return n * n * share / mean * (1 + variance / mean**2)


def random_jain_quantile(
    requests: int,
    weights: Sequence[int],
    probability: float = FLOOR_PROBABILITY,
    *,
    seed: int = _SEED,
) -> float:
    """J that random assignment falls below with `probability`; Monte Carlo, 50 000 assignments.

    One weight per backend. NaN for no requests.
    """
    if requests == 0:
        return float("nan")
    return float(np.quantile(_random_jains(requests, tuple(weights), seed), probability))


@dataclass(frozen=True, slots=True)
class FairnessVerdict:
    """An assignment against chance."""

    jain: float
    random_mean: float
    random_low: float
    """Honest random assignment falls below this once in a thousand times."""

    @property
    def biased(self) -> bool:
        """Whether backends were used less evenly than chance explains."""
        return self.jain < self.random_low


def fairness_verdict(
    counts: Sequence[int], weights: Sequence[int] | None = None, *, seed: int = _SEED
) -> FairnessVerdict:
    """Is this assignment of requests (one count per backend) worse than chance?

    Algorithms that balance on purpose are above the floor; `biased` is meant for those that pin
    clients (few clients, few shares) and for faults.
    """
    total, equal = int(sum(counts)), tuple(weights or (1,) * len(counts))
    if total == 0:
        return FairnessVerdict(float("nan"), float("nan"), float("nan"))
    return FairnessVerdict(
        jain(counts, equal),
        float(_random_jains(total, equal, seed).mean()),
        random_jain_quantile(total, equal, BIAS_PROBABILITY, seed=seed),
    )


def load_per_backend(
    requests: pd.DataFrame,
    connections: pd.DataFrame,
    backends: Sequence[str],
    window_s: tuple[float, float],
) -> pd.DataFrame:
    """Per backend: `requests` and `bytes` (clients' account), `connections` (the balancer's).

    Every backend has a row. Requests are those of which the client learnt who served them: all
    answered ones, also with a rejection. They count by intended start, connections by opening.
    """
    served = in_window(requests.dropna(subset=["backend"]), window_s)
    carried = in_window(connections, window_s, "opened_s")
    frame = pd.DataFrame(
        {
            "requests": served.groupby("backend").size(),
            "bytes": served.groupby("backend")["bytes_received"].sum(),
            "connections": carried.groupby("backend").size(),
        }
    )
    return frame.reindex(list(backends)).fillna(0).astype("int64").rename_axis("backend")


def requests_per_second(
    requests: pd.DataFrame, backends: Sequence[str], duration_s: float
) -> pd.DataFrame:
    """`requests` of `load_per_backend` by second of intended start: index t_s, a column each."""
    seconds = range(int(duration_s))
    served = in_window(requests.dropna(subset=["backend"]), (0.0, duration_s))
    second = np.floor(served["intended_s"]).astype("int64").rename("t_s")
    counts = pd.crosstab(second, served["backend"])
    return counts.reindex(index=seconds, columns=list(backends), fill_value=0).rename_axis("t_s")


def jain_per_second(counts: pd.DataFrame, weights: Sequence[int]) -> pd.DataFrame:
    """Of `requests_per_second`: `jain`, and the noise floor's `random_mean` and `random_low`.

    Seconds without any request are NaN. `random_low`: 5 % of random assignments are below it.
    """
    totals = counts.sum(axis=1).astype(int)
    equal = tuple(weights)
    return pd.DataFrame(
        {
            "jain": [jain(row, equal) for row in counts.to_numpy()],
            "random_mean": [_random_mean(n, equal) for n in totals],
            "random_low": [random_jain_quantile(n, equal) for n in totals],
        },
        index=counts.index,
    )


def _random_mean(requests: int, weights: tuple[int, ...]) -> float:
    if requests and len(set(weights)) > 1:
        return float(_random_jains(requests, weights, _SEED).mean())
    return random_jain_mean(requests, len(weights))


@lru_cache(maxsize=256)
def _random_jains(requests: int, weights: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    shares = np.array(weights, dtype=float) / sum(weights)
    drawn = np.random.default_rng(seed).multinomial(requests, shares, size=_DRAWS)
    x = drawn / np.array(weights, dtype=float)
    jains: NDArray[np.float64] = x.sum(axis=1) ** 2 / (len(weights) * (x**2).sum(axis=1))
    return jains


def _per_weight(amounts: ArrayLike, weights: ArrayLike | None) -> NDArray[np.float64]:
    x = np.asarray(amounts, dtype=float)
    return x if weights is None else x / np.asarray(weights, dtype=float)
