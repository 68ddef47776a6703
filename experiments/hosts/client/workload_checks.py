"""Checks that hold on every run, whatever the system under test does. Pure.

A run that breaks one of them was measured wrongly: its numbers are not evidence.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

_MAX_BATCHES = 20
_FALSE_ALARM = 1e-5
"""Of one call of `little`: a matrix of a thousand client runs is falsely rejected once in 100."""


class TooFewSamples(ValueError):
    """There is not enough to compare."""


class LittlesLaw(NamedTuple):
    """Little's law on one client: both sides, how far they may be apart, whether they agree."""

    in_flight_sampled: float
    """L: mean of the samples of the in-flight counter."""
    rate_times_stay: float
    """lambda W: the time that requests spent in flight within the window, per second of it."""
    tolerance: float
    ok: bool


def conservation(summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Problems with `offered = completed + failed + in_flight`, one line per client that breaks it.

    Takes the generators' summaries: `client`, `offered`, `completed`, `failed` (count per status)
    and `in_flight`.
    """
    problems = []
    for summary in summaries:
        failed = sum(summary["failed"].values())
        accounted = summary["completed"] + failed + summary["in_flight"]
        if summary["offered"] != accounted:
            problems.append(
                f"{summary['client']}: offered {summary['offered']} requests, but completed "
                f"{summary['completed']} + failed {failed} + in flight {summary['in_flight']} "
                f"= {accounted}"
            )
    return problems


def little(
    stays_s: ArrayLike, in_flight_samples: ArrayLike, window_s: tuple[float, float]
) -> LittlesLaw:
    """Compare the sampled number in flight with the requests' own records: L = lambda W.

    `stays_s`: rows of (sent, ended) seconds, ended infinite for those still in flight.
    `in_flight_samples`: rows of (time in seconds, requests in flight).
    `window_s`: from and to; what lies outside does not count, so no stationarity is assumed.

    Both sides measure the same area, so they differ by the sampling error alone. Its size is taken
    from the run itself: the window is cut into up to 20 batches, whose differences have mean 0 if
    the law holds, and the tolerance is their t-interval at a false alarm rate of 1e-5, but never
    under one request in one sample. Raises TooFewSamples under 4 samples in the window.
    """
    samples = np.asarray(in_flight_samples, dtype=float).reshape(-1, 2)
    samples = samples[(samples[:, 0] >= window_s[0]) & (samples[:, 0] < window_s[1])]
    edges = np.linspace(*window_s, 1 + max(1, min(_MAX_BATCHES, len(samples) // 2)))
    batch = np.searchsorted(edges, samples[:, 0], side="right") - 1
    counts = np.bincount(batch, minlength=len(edges) - 1)
    sampled = np.bincount(batch, samples[:, 1], len(edges) - 1)[counts > 0] / counts[counts > 0]
    if len(sampled) < 2:
        raise TooFewSamples(f"{len(samples)} samples of the number in flight")
    stays = np.asarray(stays_s, dtype=float).reshape(-1, 2)
    recorded = _mean_in_flight(stays, edges)[counts > 0]
    standard_error = (sampled - recorded).std(ddof=1) / math.sqrt(len(sampled))
    # Student's t; scipy.stats would say the same but takes a second to import.
    quantile = special.stdtrit(len(sampled) - 1, 1 - _FALSE_ALARM / 2)
    tolerance = max(float(quantile * standard_error), 1 / len(samples))
    in_flight, rate_times_stay = float(sampled.mean()), float(recorded.mean())
    ok = abs(in_flight - rate_times_stay) <= tolerance
    return LittlesLaw(in_flight, rate_times_stay, tolerance, ok)


def _mean_in_flight(
    stays_s: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Time-average number in flight between each two edges, from the records alone."""
    sent, ended = stays_s[:, 0], stays_s[:, 1]
    area_until = [np.clip(np.minimum(ended, edge) - sent, 0, None).sum() for edge in edges]
    return np.diff(np.array(area_until)) / np.diff(edges)
