"""The random methods are distributed as nginx 1.22.1's, whose counts were recorded.

Seeds are fixed, so these tests never fail by chance; the level (p > 1e-4) says what would be
noticed: with 10 000 picks, a share that is off by about 2 percentage points.
"""

import json
import random
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chi2_contingency, chisquare

from nginy.address import Address
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.balancer.registry import make_balancer
from nginy.config.strategies import STRATEGIES
from tests.unit.balancer.nginx_recording import server_backends

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "data" / "vectors" / "nginx_random.json").read_text()
)
CASES = list(VECTOR["config"])
IDLE = [case for case in VECTOR["theory"] if VECTOR["input"][case]["window"] == 0]
WINDOWED = [case for case in CASES if VECTOR["input"][case]["window"] > 0]
CLIENT = Address("192.0.2.1", 40000)
LEVEL = 1e-4


class Recording:
    """Picks per backend, and the spread of open connections, over all connections of a case."""

    def __init__(self, case: str, seed: int) -> None:
        given = VECTOR["input"][case]
        config = VECTOR["config"][case]
        backends = server_backends(config)
        method = "random_two" if "random two" in config else "random"
        balancer = make_balancer(STRATEGIES[method](type=method), random.Random(seed))
        balancer.rebuild(backends, 0.0)
        pool = BackendPool(backends)
        held: deque[Lease] = deque()
        self.counts = [0] * len(VECTOR["expected"][case]["counts"])
        self.spreads: Counter[int] = Counter()
        for _ in range(given["connections"]):
            backend = balancer.pick(CLIENT, 0.0)
            assert backend is not None
            self.counts[int(backend.id)] += 1
            held.append(pool.lease(backend, balancer, 0.0))
            if len(held) > given["window"]:
                held.popleft().release(Outcome(), 0.0)
                active = [backend.active for backend in backends]
                self.spreads[max(active) - min(active)] += 1


def mean_spread(histogram: dict[int, int]) -> float:
    return sum(spread * n for spread, n in histogram.items()) / sum(histogram.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_picks_are_distributed_as_recorded(case: str, seed: int) -> None:
    ours = Recording(case, seed).counts
    recorded = VECTOR["expected"][case]["counts"]
    # Who is away has no part in the comparison, but must have been away in both.
    seen = [pair for pair in zip(ours, recorded, strict=True) if any(pair)]
    assert chi2_contingency(list(zip(*seen, strict=True))).pvalue > LEVEL


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("case", IDLE)
def test_idle_picks_follow_the_theory(case: str, seed: int) -> None:
    counts = Recording(case, seed).counts
    shares = VECTOR["theory"][case]["p"]
    expected = [sum(counts) * share / sum(shares) for share in shares]
    assert chisquare(counts, expected).pvalue > LEVEL


@pytest.mark.parametrize("case", WINDOWED)
def test_two_choices_level_the_load_as_recorded(case: str) -> None:
    """Spreads follow one another: 10 000 of them are worth some 150 independent ones, so that the
    recorded mean is off by 3 % itself. A single draw would give more than twice the spread."""
    recorded = VECTOR["expected"][case]["max_minus_min_open_histogram"]
    expected = mean_spread({int(spread): n for spread, n in recorded.items()})
    ours = [mean_spread(Recording(case, seed).spreads) for seed in range(4)]
    assert sum(ours) / len(ours) == pytest.approx(expected, rel=0.08)
