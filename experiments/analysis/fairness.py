"""How evenly backends were used, and how even pure chance would have been. Pure functions.

**Jain's index** (Jain, Chiu, Hawe 1984, DEC-TR-301): J = (sum x)^2 / (N sum x^2) over all N
backends, also those that got nothing. x is the amount divided by what the backend could take (its
weight, or its speed, while it was up: `capacity.py`), so 1 means shares in proportion to that; 1/N
means that one backend got everything. Backends that could take nothing do not count.

**Noise floor**: what J is when every connection is assigned at random, each backend with a
probability in proportion to what it could take. J falls short of 1 even then, the more so the fewer
connections there are, so no J means anything without it. Connections, since a layer-4 balancer
decides once for each: where they persist, many requests are few decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from experiments.analysis.throughput import in_window

_LOW_PROBABILITY = 0.05
_BIAS_PROBABILITY = 0.001
_DRAWS = 50_000
_SEED = 20_240_607
_CONNECTION = ["local", "connected_s"]


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


class NoiseFloor(NamedTuple):
    """J of random assignment: its mean, what it falls below in 5 % and in 0.1 % of cases, and what
    it is above in 0.1 %."""

    mean: float
    low: float
    lowest: float
    highest: float


@lru_cache(maxsize=4096)
def noise_floor(requests: int, weights: tuple[float, ...], *, seed: int = _SEED) -> NoiseFloor:
    """Noise floor of `requests` on one backend per weight above 0; NaN for no requests.

    Quantiles (and with unequal weights the mean) by Monte Carlo over 50 000 assignments.
    """
    if requests == 0:
        return NoiseFloor(*[float("nan")] * 4)
    per_backend = np.array([weight for weight in weights if weight > 0], dtype=float)
    shares = per_backend / per_backend.sum()
    drawn = np.random.default_rng(seed).multinomial(requests, shares, size=_DRAWS)
    x = drawn / per_backend
    jains = x.sum(axis=1) ** 2 / (len(per_backend) * (x**2).sum(axis=1))
    low, lowest, highest = np.quantile(
        jains, [_LOW_PROBABILITY, _BIAS_PROBABILITY, 1 - _BIAS_PROBABILITY]
    )
    equal = len(set(per_backend)) == 1
    mean = random_jain_mean(requests, len(per_backend)) if equal else jains.mean()
    return NoiseFloor(float(mean), float(low), float(lowest), float(highest))


@dataclass(frozen=True, slots=True)
class FairnessVerdict:
    """An assignment against chance."""

    jain: float
    floor: NoiseFloor

    @property
    def biased(self) -> bool:
        """Whether backends were used less evenly than chance explains (once in a thousand)."""
        return self.jain < self.floor.lowest

    def __str__(self) -> str:
        """`within chance`, or that it was not: once in a thousand each way if it was."""
        if np.isnan(self.jain):
            return "nothing to share"
        if self.biased:
            return "less even than chance"
        return "more even than chance" if self.jain > self.floor.highest else "within chance"


def fairness_verdict(
    counts: Sequence[int],
    weights: Sequence[float] | None = None,
    *,
    decisions: int | None = None,
    seed: int = _SEED,
) -> FairnessVerdict:
    """Is this assignment of requests (one count per backend) worse than chance?

    `decisions`: on how many connections they came (None: each on its own). An honest random
    balancer is called biased once in a thousand runs. Algorithms that balance on purpose are above
    the floor; those that pin clients may be below it: few clients, few shares.
    """
    shares = tuple(weights or (1,) * len(counts))
    draws = int(sum(counts)) if decisions is None else decisions
    return FairnessVerdict(jain(counts, shares), noise_floor(draws, shares, seed=seed))


def connections_used(requests: pd.DataFrame, window_s: tuple[float, float]) -> int:
    """How many connections carried those `requests` of `load_per_backend`."""
    served = in_window(requests.dropna(subset=["backend"]), window_s)
    return len(served.drop_duplicates(_CONNECTION))


def load_per_backend(
    requests: pd.DataFrame,
    connections: pd.DataFrame,
    backends: Sequence[str],
    window_s: tuple[float, float],
) -> pd.DataFrame:
    """Per backend: `requests` and `bytes` (clients' account), `connections` (the balancer's).

    Every backend has a row. Requests are all that reached a backend, answered or not: who is given
    more than it can answer must show. They count by intended start, connections if
    they were open at any time within.
    """
    served = in_window(requests.dropna(subset=["backend"]), window_s)
    carried = connections[
        (connections["opened_s"] < window_s[1]) & (connections["closed_s"] >= window_s[0])
    ]
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
    served = _with_second(requests, duration_s)
    counts = pd.crosstab(served["t_s"], served["backend"])
    seconds = range(int(duration_s))
    return counts.reindex(index=seconds, columns=list(backends), fill_value=0).rename_axis("t_s")


def connections_per_second(requests: pd.DataFrame, duration_s: float) -> "pd.Series[int]":
    """On how many connections the requests of each second of `requests_per_second` came."""
    served = _with_second(requests, duration_s).drop_duplicates(["t_s", *_CONNECTION])
    return served.groupby("t_s").size().reindex(range(int(duration_s)), fill_value=0)


def _with_second(requests: pd.DataFrame, duration_s: float) -> pd.DataFrame:
    served = in_window(requests.dropna(subset=["backend"]), (0.0, duration_s))
    return served.assign(t_s=np.floor(served["intended_s"]).astype("int64"))


def jain_per_second(
    counts: pd.DataFrame,
    weights: Sequence[float] | Sequence[Sequence[float]],
    decisions: "Sequence[int] | pd.Series[int] | None" = None,
) -> pd.DataFrame:
    """Of `requests_per_second`: `jain`, and the noise floor's `random_mean` and `random_low`.

    `weights`: of all seconds, or of each. `decisions`: `connections_per_second` (None: every
    request came on its own). Seconds without
    any request are NaN. `random_low`: 5 % of random assignments are below it.
    """
    draws = counts.sum(axis=1) if decisions is None else decisions
    each = np.broadcast_to(np.asarray(weights, dtype=float), counts.shape)
    floors = [noise_floor(int(n), tuple(row)) for n, row in zip(draws, each, strict=True)]
    return pd.DataFrame(
        {
            "jain": [jain(row, own) for row, own in zip(counts.to_numpy(), each, strict=True)],
            "random_mean": [floor.mean for floor in floors],
            "random_low": [floor.low for floor in floors],
        },
        index=counts.index,
    )


def _per_weight(amounts: ArrayLike, weights: ArrayLike | None) -> NDArray[np.float64]:
    x = np.asarray(amounts, dtype=float)
    if weights is None:
        return x
    divisors = np.asarray(weights, dtype=float)
    per_weight: NDArray[np.float64] = x[divisors > 0] / divisors[divisors > 0]
    return per_weight
