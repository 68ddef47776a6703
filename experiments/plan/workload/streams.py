"""The random streams of a client: when requests arrive, what they demand, where they go.

Everything is drawn from a seed before the run, so every algorithm sees the identical workload
(common random numbers; see Law, "Simulation Modeling and Analysis", 11.2). Each purpose has a
stream of its own: changing the one leaves the others alone."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.plan.workload.laws import Demand, demands_ms

_ARRIVALS_KEY = 0
_DEMANDS_KEY = 1
_TARGETS_KEY = 2
_SIZES_KEY = 3
_CONNECTIONS_KEY = 4
_THINKING_KEY = 5


@dataclass(frozen=True, slots=True)
class Phase:
    """Until `until_s` the rate is `factor` times what it is otherwise."""

    until_s: float
    factor: float


@dataclass(frozen=True, slots=True)
class ClientStream:
    """One client's requests: equally long arrays, arrivals ascending from the start of load."""

    arrivals_s: NDArray[np.float64]
    demands_us: NDArray[np.int64]


def client_stream(
    seed: int,
    client_index: int,
    *,
    rate_per_s: float,
    duration_s: float,
    demand: Demand,
    profile: Sequence[Phase] = (),
) -> ClientStream:
    """Poisson arrivals in [0, duration_s) with their demands, for one client of a run.

    The same (seed, client_index) always gives the same unit-rate process: another rate stretches
    it, a longer duration appends to it, and a `profile` stretches each of its parts by itself.
    Raises ValueError for a negative rate or duration.
    """
    arrivals_s = arrivals(seed, client_index, rate_per_s, duration_s, profile)
    return ClientStream(arrivals_s, demands_us(seed, client_index, demand, len(arrivals_s)))


def arrivals(
    seed: int,
    client_index: int,
    rate_per_s: float,
    duration_s: float,
    profile: Sequence[Phase] = (),
) -> NDArray[np.float64]:
    """See `client_stream`: seconds, ascending."""
    if not (rate_per_s >= 0 and duration_s >= 0 and math.isfinite(rate_per_s * duration_s)):
        raise ValueError(f"no such load: {rate_per_s} requests/s for {duration_s} s")
    rng = _stream(seed, client_index, _ARRIVALS_KEY)
    if not profile:
        return _poisson_arrivals_s(rng, rate_per_s, duration_s)
    ends_s = np.array([0.0, *(phase.until_s for phase in profile), duration_s])
    ends_s = np.minimum(np.maximum.accumulate(ends_s), duration_s)
    factors = np.array([*(phase.factor for phase in profile), 1.0])
    passed_s = np.concatenate([[0.0], np.cumsum(np.diff(ends_s) * factors)])
    even_s = _poisson_arrivals_s(rng, rate_per_s, float(passed_s[-1]))
    # Where the factor is 0 nothing passes, and several real times have the same work: the last.
    place = np.searchsorted(passed_s, even_s, side="right") - 1
    found: NDArray[np.float64] = ends_s[place] + (even_s - passed_s[place]) / factors[place]
    return found


def demands_us(seed: int, client_index: int, demand: Demand, count: int) -> NDArray[np.int64]:
    """So many demands of one client, whole microseconds."""
    drawn_ms = demands_ms(_stream(seed, client_index, _DEMANDS_KEY), demand, count)
    return np.rint(drawn_ms * 1000).astype(np.int64)


def size_stream(seed: int, client_index: int) -> np.random.Generator:
    """For what is transferred."""
    return _stream(seed, client_index, _SIZES_KEY)


def connection_stream(seed: int, client_index: int) -> np.random.Generator:
    """For which connection carries what."""
    return _stream(seed, client_index, _CONNECTIONS_KEY)


def thinking_stream(seed: int, client_index: int) -> np.random.Generator:
    """For how long users wait."""
    return _stream(seed, client_index, _THINKING_KEY)


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
