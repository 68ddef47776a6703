"""How long a queue needs to settle."""

import math

import pytest

from experiments.judge.stationarity import relaxation_s, settling_label
from experiments.plan.scenario import Scenario, parse_scenario


def scenario(load: float, **settings: object) -> Scenario:
    work = {"load": load, "mean_demand_ms": 20}
    return parse_scenario({"workload": work, **settings}, "test")


@pytest.mark.parametrize(
    ("load", "services"), [(0.25, 4.0), (0.64, 25.0), (0.81, 100.0), (0.9801, 10_000.0)]
)
def test_the_relaxation_time_by_hand(load: float, services: float) -> None:
    assert relaxation_s(scenario(load)) == pytest.approx(services * 0.020)


def test_slow_backends_and_variable_demands_take_longer() -> None:
    alone = relaxation_s(scenario(0.64))
    slow = scenario(0.64, backends={"speeds": [1, 1, 1, 0.5]})
    assert relaxation_s(slow) == pytest.approx(2 * alone)
    work = {"load": 0.64, "mean_demand_ms": 20, "distribution": "lognormal", "demand_cv2": 9}
    assert relaxation_s(parse_scenario({"workload": work}, "test")) == pytest.approx(5 * alone)


def test_the_default_run_settles_and_a_load_that_cannot_is_labelled() -> None:
    assert settling_label(scenario(0.7)) == ""
    assert settling_label(scenario(0.95)).startswith("not settled (at load 0.95 a queue needs some")
    assert settling_label(scenario(0.95, duration_s=300, warmup_s=100)) == ""


def test_from_load_1_on_nothing_settles() -> None:
    assert relaxation_s(scenario(1.0)) == math.inf
    assert settling_label(scenario(1.2)).startswith("overloaded (load 1.2: queues grow")
