"""Closed forms against recorded values, which two simulators written for it agreed on."""

import numpy as np
import pytest

from experiments.analysis import theory
from experiments.analysis.intervals import batch_means, mser5
from experiments.plan.scenario import parse_scenario


@pytest.mark.parametrize(
    ("servers", "load", "mean"),
    [(2, 0.5, 1.618), (4, 0.7, 2.2367), (8, 0.9, 5.7807), (16, 0.95, 10.787)],
)
def test_round_robin(servers: int, load: float, mean: float) -> None:
    assert theory.round_robin(servers, load) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(
    ("servers", "load", "mean"), [(2, 0.5, 1.4263), (2, 0.9, 5.4749), (4, 0.7, 1.5114)]
)
def test_the_shortest_queue(servers: int, load: float, mean: float) -> None:
    assert theory.shortest_queue(servers, load) == pytest.approx(mean, rel=2e-4)


@pytest.mark.parametrize(
    ("servers", "load", "mean"), [(2, 0.7, 1.9608), (4, 0.9, 2.9694), (16, 0.95, 1.9752)]
)
def test_one_queue_for_all(servers: int, load: float, mean: float) -> None:
    assert theory.mmc(servers, load) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(
    ("load", "choices", "mean"), [(0.5, 2, 1.2657), (0.9, 2, 2.6141), (0.95, 3, 2.5351)]
)
def test_the_power_of_choices(load: float, choices: int, mean: float) -> None:
    assert theory.power_of_d(load, choices) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(("cv2", "mean"), [(0, 2.1667), (1, 3.3333), (4, 6.8333), (16, 20.833)])
def test_general_sizes(cv2: float, mean: float) -> None:
    assert theory.mg1(0.7, cv2) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"algorithm": "prequal"}, "no closed form of prequal"),
        ({"backends": {"speeds": [1, 1, 2, 2]}}, "backends differ"),
        ({"workload": {"load": 1.2}}, "no stationary law"),
        ({"workload": {"kind": "closed"}}, "no stationary law"),
        ({"workload": {"mode": "persistent"}}, "share connections"),
        ({"network": {"shape": "chain"}}, "several balancers"),
        (
            {"algorithm": "least_conn", "network": {"client_link": {"delay_ms": 5}}},
            "wait for the network",
        ),
        (
            {"algorithm": "least_conn", "network": {"backends": 9}},
            "the shortest of 9 queues: 2 to 4",
        ),
    ],
)
def test_where_there_is_no_value_it_says_why(settings: dict[str, object], why: str) -> None:
    found = theory.reference(parse_scenario(settings, "test"))
    assert found.value_ms is None
    assert why in found.why


def test_intervals_of_one_run_hold_the_mean_of_a_dependent_series() -> None:
    """M/M/1 at load 0.5: 95 % intervals of 200 runs hold the mean at least 180 times."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gaps, services = rng.exponential(2.0, 6000), rng.exponential(1.0, 6000)
        waits = np.empty(6000)
        wait = 0.0
        for number in range(6000):
            waits[number] = wait
            wait = max(0.0, wait + services[number] - gaps[number])
        found = batch_means((waits + services)[300:])
        held += found.low <= 2.0 <= found.high
    assert held >= 180


def test_a_warm_up_is_found_and_left_out() -> None:
    rng = np.random.default_rng(1)
    series = rng.normal(10, 1, 2000)
    series[:200] += np.linspace(30, 0, 200)
    assert 120 <= mser5(series) <= 400
    assert mser5(rng.normal(10, 1, 2000)) <= 1000
