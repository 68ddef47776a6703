"""Little's law and conservation of requests, on cases computed by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hosts.client.workload_checks import TooFewSamples, conservation, little


def summary(offered: int, completed: int, failed: dict[str, int], in_flight: int) -> dict[str, Any]:
    return {
        "client": "c1",
        "offered": offered,
        "completed": completed,
        "failed": failed,
        "in_flight": in_flight,
    }


def test_requests_that_are_all_accounted_for_are_no_problem() -> None:
    assert conservation([summary(10, 6, {"timeout": 2, "reset": 1}, 1)]) == []
    assert conservation([summary(0, 0, {}, 0)]) == []


@pytest.mark.parametrize("completed", [5, 7])
def test_a_lost_or_invented_request_is_named(completed: int) -> None:
    problems = conservation(
        [summary(6, 6, {}, 0), summary(10, completed, {"timeout": 2, "reset": 1}, 1)]
    )
    assert len(problems) == 1
    assert problems[0].startswith("c1: offered 10")


def test_little_by_hand() -> None:
    # One request in flight over [0, 2), another over [1, 3): 1, 2, 1, 0 in four seconds.
    law = little([(0, 2), (1, 3)], [(0.5, 1), (1.5, 2), (2.5, 1), (3.5, 0)], (0, 4))
    assert law.in_flight_sampled == pytest.approx(1)
    assert law.rate_times_stay == pytest.approx(1)
    assert law.ok


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    samples = [(-1.0, 50), *((t / 2, 1) for t in range(20)), (11.0, 50)]
    law = little([(-5, 5), (5, float("inf"))], samples, (0, 10))
    assert (law.in_flight_sampled, law.rate_times_stay) == (pytest.approx(1), pytest.approx(1))
    # Nothing ever differs here, so what is left is one request in one of 20 samples.
    assert law.tolerance == pytest.approx(1 / 20)


def test_too_few_samples_are_an_error_and_not_an_agreement() -> None:
    with pytest.raises(TooFewSamples):
        little([(0, 1)], [(0, 1), (0.1, 1), (0.2, 1)], (0, 1))
    with pytest.raises(TooFewSamples):
        little([], [], (0, 1))


def mm_infinity(seed: int, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Stays of a Poisson stream of 200/s that stay 20 ms on average, and the counter's samples."""
    rng = np.random.default_rng(seed)
    sent = np.sort(rng.uniform(0, duration_s, rng.poisson(200 * duration_s)))
    stays = np.column_stack([sent, sent + rng.exponential(0.02, len(sent))])
    times = np.arange(0, duration_s, 0.1)
    in_flight = [((stays[:, 0] <= t) & (t < stays[:, 1])).sum() for t in times]
    return stays, np.column_stack([times, in_flight])


@given(st.integers(0, 2**32))
def test_an_honest_record_agrees(seed: int) -> None:
    stays, samples = mm_infinity(seed, 10)
    assert little(stays, samples, (0, 10)).ok


@pytest.mark.parametrize("seed", range(20))
def test_latencies_that_are_half_of_the_truth_are_caught(seed: int) -> None:
    stays, samples = mm_infinity(seed, 30)
    stays[:, 1] = stays.mean(axis=1)
    assert not little(stays, samples, (0, 30)).ok
