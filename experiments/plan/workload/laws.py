"""Laws of service demands and of transfer sizes."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Distribution = Literal["constant", "exponential", "lognormal", "hyperexponential"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)


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


def demands_ms(rng: np.random.Generator, demand: Demand, count: int) -> NDArray[np.float64]:
    """`count` draws; more of them append to the sequence."""
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


SizeLaw = Literal["constant", "lognormal", "bounded_pareto", "web_search", "data_mining"]
SIZE_LAWS: tuple[SizeLaw, ...] = get_args(SizeLaw)

EMPIRICAL: dict[str, tuple[tuple[float, float], ...]] = {
    "web_search": (
        *((0, 0.0), (10_000, 0.15), (20_000, 0.2), (30_000, 0.3), (50_000, 0.4)),
        *((80_000, 0.53), (200_000, 0.6), (1_000_000, 0.7), (2_000_000, 0.8)),
        *((5_000_000, 0.9), (10_000_000, 0.97), (30_000_000, 1.0)),
    ),
    "data_mining": (
        *((0, 0.0), (180, 0.1), (216, 0.2), (560, 0.3), (900, 0.4), (1_100, 0.5)),
        *((1_870, 0.6), (3_160, 0.7), (10_000, 0.8), (400_000, 0.9), (3_160_000, 0.95)),
        *((100_000_000, 0.98), (1_000_000_000, 1.0)),
    ),
}
"""Flow sizes in bytes, and how many flows are no larger; straight lines between. `web_search`:
Alizadeh et al., "Data Center TCP", SIGCOMM 2010; `data_mining`: Greenberg et al., "VL2", SIGCOMM
2009; both as tabulated for the traffic generator of Bai et al. (NSDI 2015)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many bytes a transfer has.

    `mean_bytes` holds for `constant`, `lognormal` (with squared coefficient of variation `cv2`) and
    `bounded_pareto` (tail index `shape`, largest / smallest = `spread`); the measured ones have
    means of their own, times `scale`.
    """

    law: SizeLaw
    mean_bytes: float = 100_000
    cv2: float = 4.0
    shape: float = 1.2
    spread: float = 1000.0
    scale: float = 1.0

    def mean(self) -> float:
        """Of the law, bytes."""
        if self.law not in EMPIRICAL:
            return self.mean_bytes
        points = EMPIRICAL[self.law]
        return self.scale * sum(
            (high - low) * (to + from_) / 2
            for (from_, low), (to, high) in itertools.pairwise(points)
        )

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Whole bytes, at least 1; more draws append to the sequence."""
        uniform = rng.random(count)
        return np.maximum(1, np.rint(self._quantiles(uniform))).astype(np.int64)

    def _quantiles(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        match self.law:
            case "constant":
                return np.full(len(uniform), float(self.mean_bytes))
            case "lognormal":
                sigma = math.sqrt(math.log1p(self.cv2))
                normal: NDArray[np.float64] = ndtri(uniform)
                return self.mean_bytes * np.exp(sigma * normal - sigma**2 / 2)
            case "bounded_pareto":
                return self._pareto(uniform)
            case _:
                sizes, shares = zip(*EMPIRICAL[self.law], strict=True)
                found: NDArray[np.float64] = np.interp(uniform, shares, sizes)
                return self.scale * found

    def _pareto(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Inverse of 1 - (low / x)^a, cut at low * spread (Crovella et al., 1998)."""
        a, cut = self.shape, 1 - self.spread**-self.shape
        if a == 1:
            mean_of_1 = math.log(self.spread) / cut
        else:
            mean_of_1 = a / (a - 1) * (1 - self.spread ** (1 - a)) / cut
        lowest = self.mean_bytes / mean_of_1
        found: NDArray[np.float64] = lowest * (1 - uniform * cut) ** (-1 / a)
        return found
