"""How long answers took, with those that never came kept in. Pure functions on table `requests`.

Latency runs from the intended start. A request that was not answered (timeout, refused, reset,
rejected, ...) is **censored**: all that is known is that no answer came within the timeout. It
stays in every percentile, above every answered request; leaving it out would make a balancer look
faster the more it fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

PROBABILITIES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Percentile:
    """The latency that `probability` of the requests do not exceed.

    `latency_ms` is infinite where it lies in the censored part (then all that is known is that it
    is no less than `timeout_ms`), and NaN when there were no requests at all.
    """

    probability: float
    latency_ms: float
    timeout_ms: float

    @property
    def censored(self) -> bool:
        """Whether the percentile is a request that was never answered."""
        return bool(np.isinf(self.latency_ms))

    def __str__(self) -> str:
        """`12.3 ms`, or `>= 5000 ms` where it is censored."""
        if np.isnan(self.latency_ms):
            return "n/a"
        if self.censored:
            return f">= {self.timeout_ms:g} ms"
        return f"{self.latency_ms:.{1 if self.latency_ms < 1000 else 0}f} ms"


def latencies_ms(requests: pd.DataFrame) -> NDArray[np.float64]:
    """Sorted latencies, infinite for every request without an answer."""
    answered = (requests["status"] == "ok").to_numpy()
    values = np.where(answered, requests["latency_ms"].to_numpy(dtype=float), np.inf)
    return np.sort(values)


def percentiles(
    requests: pd.DataFrame, timeout_ms: float, probabilities: Sequence[float] = PROBABILITIES
) -> list[Percentile]:
    """Order statistics (the least latency whose share reaches the probability), not interpolated.

    Between an answered and a censored request there is nothing to interpolate.
    """
    values = latencies_ms(requests)
    if len(values) == 0:
        return [Percentile(p, float("nan"), timeout_ms) for p in probabilities]
    found = np.quantile(values, probabilities, method="inverted_cdf")
    return [Percentile(p, float(v), timeout_ms) for p, v in zip(probabilities, found, strict=True)]


RESAMPLES = 400


def percentile_intervals(
    requests: pd.DataFrame, probabilities: Sequence[float], seed: int = 0
) -> list[tuple[float, float]]:
    """95 % intervals of one run's percentiles, by drawing its seconds anew.

    Requests of one second share a queue, so whole seconds are drawn, with replacement (a block
    bootstrap: Kuensch, "The jackknife and the bootstrap for general stationary observations",
    1989). Infinite where a percentile may be a request without an answer; NaN of fewer than 5
    seconds.
    """
    second = np.floor(requests["intended_s"].to_numpy(dtype=float)).astype(int)
    answered = (requests["status"] == "ok").to_numpy()
    values = np.where(answered, requests["latency_ms"].to_numpy(dtype=float), np.inf)
    blocks = [values[second == each] for each in np.unique(second)]
    if len(blocks) < 5:
        return [(float("nan"), float("nan"))] * len(probabilities)
    rng = np.random.default_rng(seed)
    drawn = [
        np.quantile(
            np.concatenate([blocks[place] for place in places]),
            probabilities,
            method="inverted_cdf",
        )
        for places in rng.integers(len(blocks), size=(RESAMPLES, len(blocks)))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method="nearest")
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def censored_share(requests: pd.DataFrame) -> float:
    """Share of requests without an answer; NaN when there were no requests."""
    if len(requests) == 0:
        return float("nan")
    return float((requests["status"] != "ok").mean())


def ccdf(requests: pd.DataFrame) -> pd.DataFrame:
    """`latency_ms` and `share_above`: the share of requests that took longer, censored included.

    One row per distinct latency; ends at the censored share, not at 0, where answers are missing.
    """
    values = latencies_ms(requests)
    answered = values[np.isfinite(values)]
    latency_ms, counts = np.unique(answered, return_counts=True)
    above = len(values) - np.cumsum(counts)
    return pd.DataFrame({"latency_ms": latency_ms, "share_above": above / max(1, len(values))})


def ccdf_band(replicates: Sequence[pd.DataFrame], confidence: float = 0.95) -> pd.DataFrame | None:
    """`latency_ms`, `low` and `high` of the share of requests that took longer, pointwise, by the t
    distribution over replicates. None of fewer than three: the requests of one run share one
    history, and their number says nothing about the next run."""
    if len(replicates) < 3:
        return None
    curves = [ccdf(frame) for frame in replicates]
    ends = [curve["latency_ms"].iloc[[0, -1]] for curve in curves if len(curve)]
    if not ends:
        return None
    grid = np.geomspace(min(each.iloc[0] for each in ends), max(e.iloc[1] for e in ends), 200)
    shares = np.array([_share_above(curve, grid) for curve in curves])
    half = stats.t.ppf((1 + confidence) / 2, len(curves) - 1) * shares.std(axis=0, ddof=1)
    half /= np.sqrt(len(curves))
    mean = shares.mean(axis=0)
    return pd.DataFrame(
        {
            "latency_ms": grid,
            "low": np.clip(mean - half, 0.0, 1.0),
            "high": np.clip(mean + half, 0.0, 1.0),
        }
    )


def _share_above(curve: pd.DataFrame, latency_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """A CCDF, read at these latencies."""
    place = np.searchsorted(curve["latency_ms"].to_numpy(), latency_ms, side="right")
    return np.concatenate([[1.0], curve["share_above"].to_numpy()])[place]
