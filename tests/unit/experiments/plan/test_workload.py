"""The drawn workload: the right laws, and the same for every algorithm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.plan.workload.laws import Demand, Distribution
from experiments.plan.workload.streams import client_stream

EXPONENTIAL = Demand("exponential", mean_ms=10)


def test_same_seed_and_client_give_the_same_workload() -> None:
    first, second = (
        client_stream(7, 2, rate_per_s=200, duration_s=5, demand=EXPONENTIAL) for _ in range(2)
    )
    assert first.arrivals_s.tolist() == second.arrivals_s.tolist()
    assert first.demands_us.tolist() == second.demands_us.tolist()


@given(st.integers(0, 2**63), st.integers(0, 1000))
def test_clients_and_seeds_differ(seed: int, index: int) -> None:
    def arrivals(seed: int, index: int) -> set[float]:
        stream = client_stream(seed, index, rate_per_s=100, duration_s=1, demand=EXPONENTIAL)
        return set(stream.arrivals_s.tolist())

    assert not arrivals(seed, index) & arrivals(seed, index + 1)
    assert not arrivals(seed, index) & arrivals(seed + 1, index)


@pytest.mark.parametrize("distribution", ["constant", "lognormal", "hyperexponential"])
def test_another_law_of_demand_leaves_the_arrivals_alone(distribution: Distribution) -> None:
    first = client_stream(1, 0, rate_per_s=100, duration_s=2, demand=EXPONENTIAL)
    second = client_stream(1, 0, rate_per_s=100, duration_s=2, demand=Demand(distribution, 3))
    assert first.arrivals_s.tolist() == second.arrivals_s.tolist()


@pytest.mark.parametrize(
    "distribution", ["constant", "exponential", "lognormal", "hyperexponential"]
)
def test_a_longer_run_begins_with_the_shorter_one(distribution: Distribution) -> None:
    demand = Demand(distribution, 10)
    short, long = (
        client_stream(1, 0, rate_per_s=100, duration_s=s, demand=demand) for s in (1.0, 9.0)
    )
    count = len(short.arrivals_s)
    assert 0 < count < len(long.arrivals_s)
    assert short.arrivals_s.tolist() == long.arrivals_s[:count].tolist()
    assert short.demands_us.tolist() == long.demands_us[:count].tolist()


def test_another_rate_stretches_the_same_process() -> None:
    slow = client_stream(1, 0, rate_per_s=100, duration_s=10, demand=EXPONENTIAL)
    fast = client_stream(1, 0, rate_per_s=200, duration_s=5, demand=EXPONENTIAL)
    assert slow.arrivals_s == pytest.approx(2 * fast.arrivals_s)
    assert slow.demands_us.tolist() == fast.demands_us.tolist()


def test_arrivals_are_poisson() -> None:
    stream = client_stream(1, 0, rate_per_s=1000, duration_s=50, demand=EXPONENTIAL)
    gaps_s = np.diff(stream.arrivals_s, prepend=0)
    assert (gaps_s >= 0).all()
    assert stream.arrivals_s[-1] < 50
    # The seed is fixed, so this can only fail when the code changes.
    assert stats.kstest(gaps_s, "expon", args=(0, 1 / 1000)).pvalue > 0.01


@pytest.mark.parametrize(
    ("demand", "cv2"),
    [
        (Demand("constant", 8), 0),
        (Demand("exponential", 8), 1),
        (Demand("lognormal", 8, cv2=0.25), 0.25),
        (Demand("lognormal", 8, cv2=2), 2),
        (Demand("hyperexponential", 8, cv2=4), 4),
    ],
)
def test_demands_have_the_mean_and_variability_asked_for(demand: Demand, cv2: float) -> None:
    stream = client_stream(3, 0, rate_per_s=10_000, duration_s=50, demand=demand)
    demands_ms = stream.demands_us / 1000
    assert demands_ms.mean() == pytest.approx(8, rel=0.02)
    assert demands_ms.var() / 64 == pytest.approx(cv2, rel=0.1, abs=1e-9)


@pytest.mark.parametrize(
    ("distribution", "mean_ms", "cv2"),
    [
        ("gaussian", 1, 1),
        ("exponential", 0, 1),
        ("exponential", float("inf"), 1),
        ("lognormal", 1, 0),
        ("hyperexponential", 1, 1),
    ],
)
def test_impossible_laws_are_refused(distribution: str, mean_ms: float, cv2: float) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - three different messages
        Demand(distribution, mean_ms, cv2)  # type: ignore[arg-type]


def test_no_rate_means_no_requests_and_a_negative_one_is_refused() -> None:
    stream = client_stream(1, 0, rate_per_s=0, duration_s=10, demand=EXPONENTIAL)
    assert len(stream.arrivals_s) == len(stream.demands_us) == 0
    with pytest.raises(ValueError, match="no such load"):
        client_stream(1, 0, rate_per_s=-1, duration_s=10, demand=EXPONENTIAL)
