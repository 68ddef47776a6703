"""The workload: when requests arrive and how much service each of them demands.

Everything is drawn by the client from a seed, before the run, so every algorithm sees the
identical workload (common random numbers; see Law, "Simulation Modeling and Analysis", 11.2).
Arrivals and demands come from separate streams: changing the one leaves the other alone.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Distribution = Literal["constant", "exponential", "lognormal", "hyperexponential"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)

_ARRIVALS_KEY = 0
_DEMANDS_KEY = 1
_TARGETS_KEY = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """The law of the service demand: the time a server of speed 1 needs for one request.

    `cv2` is the squared coefficient of variation (variance over squared mean). It is free for
    `lognormal` (> 0) and `hyperexponential` (> 1, two phases with balanced means); `constant`
    has 0 and `exponential` 1, whatever is given.
    """

    distribution: Distribution
    mean_ms: float
    cv2: float = 4.0

    def __post_init__(self) -> None:
        """Raise ValueError for a law that does not exist."""
        if self.distribution not in DISTRIBUTIONS:
            known = ", ".join(DISTRIBUTIONS)
            raise ValueError(f"unknown distribution {self.distribution!r} (known: {known})")
        if not (math.isfinite(self.mean_ms) and self.mean_ms > 0):
            raise ValueError(f"mean demand must be above 0 ms, not {self.mean_ms}")
        lowest = {"lognormal": 0.0, "hyperexponential": 1.0}.get(self.distribution)
        if lowest is not None and not (math.isfinite(self.cv2) and self.cv2 > lowest):
            raise ValueError(f"{self.distribution} needs cv2 above {lowest:g}, not {self.cv2}")


@dataclass(frozen=True, slots=True)
class ClientStream:
    """One client's requests: equally long arrays, arrivals ascending from the start of load."""

    arrivals_s: NDArray[np.float64]
    demands_us: NDArray[np.int64]


def client_stream(
    seed: int, client_index: int, *, rate_per_s: float, duration_s: float, demand: Demand
) -> ClientStream:
    """Poisson arrivals in [0, duration_s) with their demands, for one client of a run.

    The same (seed, client_index) always gives the same unit-rate process: another rate stretches
    it, a longer duration appends to it. Raises ValueError for a negative rate or duration.
    """
    if not (rate_per_s >= 0 and duration_s >= 0 and math.isfinite(rate_per_s * duration_s)):
        raise ValueError(f"no such load: {rate_per_s} requests/s for {duration_s} s")
    arrivals_s = _poisson_arrivals_s(
        _stream(seed, client_index, _ARRIVALS_KEY), rate_per_s, duration_s
    )
    demands_ms = _demands_ms(_stream(seed, client_index, _DEMANDS_KEY), demand, len(arrivals_s))
    return ClientStream(arrivals_s, np.rint(demands_ms * 1000).astype(np.int64))


def choices(seed: int, client_index: int, count: int) -> Iterator[int]:
    """From 0 to `count` - 1 at random for ever: where one client's connections go, in order."""
    if count == 1:
        yield from itertools.repeat(0)
    rng = _stream(seed, client_index, _TARGETS_KEY)
    while True:
        yield from rng.integers(count, size=1024).tolist()


def _stream(seed: int, client_index: int, key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(client_index, key)))


def _poisson_arrivals_s(
    rng: np.random.Generator, rate_per_s: float, duration_s: float
) -> NDArray[np.float64]:
    horizon = rate_per_s * duration_s
    # 6 standard deviations more than expected, so that one draw is nearly always enough.
    chunk = math.ceil(horizon + 6 * math.sqrt(horizon)) + 1
    gaps = rng.exponential(size=chunk)
    while gaps.sum() < horizon:
        gaps = np.concatenate([gaps, rng.exponential(size=chunk)])
    unit_arrivals = np.cumsum(gaps)
    return unit_arrivals[unit_arrivals < horizon] / max(rate_per_s, math.ulp(0.0))


def _demands_ms(rng: np.random.Generator, demand: Demand, count: int) -> NDArray[np.float64]:
    match demand.distribution:
        case "constant":
            return np.full(count, demand.mean_ms)
        case "exponential":
            return rng.exponential(demand.mean_ms, count)
        case "lognormal":
            sigma = math.sqrt(math.log1p(demand.cv2))
            return demand.mean_ms * np.exp(sigma * rng.standard_normal(count) - sigma**2 / 2)
        case "hyperexponential":
            return demand.mean_ms * _balanced_hyperexponential(rng, demand.cv2, count)


def _balanced_hyperexponential(
    rng: np.random.Generator, cv2: float, count: int
) -> NDArray[np.float64]:
    """Mean 1; phase 1 with probability p and rate 2p, phase 2 with 1-p and 2(1-p) (Tijms)."""
    first = (1 + math.sqrt((cv2 - 1) / (cv2 + 1))) / 2
    # One row per request, so that more requests append to the stream and change none before.
    draws = rng.random((count, 2))
    phase = np.where(draws[:, 0] < first, first, 1 - first)
    scaled: NDArray[np.float64] = -np.log1p(-draws[:, 1]) / (2 * phase)
    return scaled
