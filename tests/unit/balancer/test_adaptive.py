"""Adaptive: the rule as it is documented, and the original project's faults, which it has not."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import BackendPool
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.adaptive import Adaptive
from nginy.config.strategies import AdaptiveSettings

DERIVED = json.loads((Path(__file__).parents[2] / "data/vectors/derived_examples.json").read_text())
CLIENT = Address("192.0.2.1", 40000)
CPU_ALONE = (1.0, 0.0, 0.0, 0.0)


class Scene:
    def __init__(self, weights: list[int], **settings: Any) -> None:
        self.backends = [
            Backend(str(i), Address("192.0.2.9", i + 1), weight) for i, weight in enumerate(weights)
        ]
        self.pool = BackendPool(self.backends)
        self.balancer = Adaptive(AdaptiveSettings(**settings), random.Random(1))
        self.balancer.rebuild(self.backends, 0.0)

    def report(self, *cpu_pct: float, now: float = 0.0) -> None:
        for backend, cpu in zip(self.backends, cpu_pct, strict=False):
            self.balancer.reported(backend, LoadReport(cpu_pct=cpu), now)

    def pick(self, now: float = 0.0) -> str:
        backend = self.balancer.pick(CLIENT, now)
        assert backend is not None
        return backend.id

    def open(self, place: int, count: int = 1) -> None:
        for _ in range(count):
            self.pool.lease(self.backends[place], self.balancer, 0.0)

    def picks(self, count: int, now: float = 0.0) -> Counter[str]:
        return Counter(self.pick(now) for _ in range(count))


def seed_scenes() -> list[Any]:
    """The worked cases of the original project's rule, of whatever number."""
    given_ = DERIVED["input"]["he_tan_seed"]["cases_coef_alpha_metrics_weights_conns"]
    return list(zip(given_, DERIVED["expected"]["he_tan_seed"]["results"], strict=True))


def scene_of(given_: Any) -> Scene:
    coefficients, alpha, metrics, weights, connections = given_
    scene = Scene(weights, coefficients=[float(each) for each in coefficients], alpha=float(alpha))
    for place, count in enumerate(connections):
        scene.open(place, count)
    for backend, (cpu, mem, net, io) in zip(scene.backends, metrics, strict=True):
        scene.balancer.reported(backend, LoadReport(cpu, mem, net, io), 0.0)
    return scene


@pytest.mark.parametrize(("given_", "seed"), seed_scenes())
def test_the_same_backends_are_acceptable_as_in_the_original(given_: Any, seed: Any) -> None:
    # Coefficients are normalised here, which cancels out. The original then takes the first that
    # fits, whatever it carries; here those that fit take turns, within their share of connections.
    scene = scene_of(given_)
    weights = given_[3]
    fit = [
        place
        for place, (load, weight) in enumerate(zip(seed["R"], weights, strict=True))
        if load / weight <= seed["threshold"]
    ]
    scores = scene.balancer.scores(CLIENT, 0.0)
    acceptable = [
        place for place, one in enumerate(scene.backends) if ": acceptable" in scores[one]
    ]
    assert acceptable == fit
    assert (seed["branch"] == "first fit") == bool(fit)
    assert not fit or seed["chosen"] == fit[0]


@pytest.mark.parametrize(("given_", "seed"), seed_scenes())
def test_where_nobody_is_acceptable_the_fewest_connections_win(given_: Any, seed: Any) -> None:
    if seed["branch"] == "first fit":
        return
    # The original compares counts, and changes weights at every pick; here counts per weight.
    scene = scene_of(given_)
    connections, weights = given_[4], given_[3]
    ratios = [count / weight for count, weight in zip(connections, weights, strict=True)]
    assert ratios[int(scene.pick())] == min(ratios)


def test_without_reports_everybody_has_a_turn_by_weight() -> None:
    # The original sent everybody to the first backend until somebody had reported.
    assert Scene([5, 1, 1]).picks(70) == {"0": 50, "1": 10, "2": 10}


def test_reports_of_nothing_but_zero_are_no_reason_to_take_the_first() -> None:
    scene = Scene([1, 1, 1])
    scene.report(0, 0, 0)
    assert scene.picks(30) == {"0": 10, "1": 10, "2": 10}


def test_the_acceptable_take_turns_between_two_reports() -> None:
    # The original's first fit gave all of a report interval to the first acceptable backend.
    scene = Scene([1, 1, 1, 1], coefficients=CPU_ALONE)
    scene.report(10, 10, 90, 90)
    assert scene.picks(20) == {"0": 10, "1": 10}


def test_picks_alone_change_no_weights() -> None:
    # The original changed them at every pick, up to 100 on an idle group.
    scene = Scene([1, 1])
    scene.report(50, 50)
    scene.picks(1000)
    assert all("(weight 1)" in score for score in scene.balancer.scores(CLIENT, 0.0).values())


@given(
    # Not down to 5e-324, where products have no digits left.
    loads=st.lists(st.just(0.0) | st.floats(0.001, 100), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    alpha=st.floats(1, 3),
)
def test_somebody_is_acceptable_with_alpha_of_1_or_more(
    loads: list[float], weights: list[int], alpha: float
) -> None:
    # The least ratio is at most the ratio of the sums (mediant inequality).
    scene = Scene(weights[: len(loads)], coefficients=CPU_ALONE, alpha=alpha)
    scene.report(*loads)
    ratios = [load / weight for load, weight in zip(loads, weights, strict=False)]
    limit = alpha * sum(loads) / sum(weights[: len(loads)])
    assert ratios[int(scene.pick())] <= limit * (1 + 1e-6)
    assert any(": acceptable" in score for score in scene.balancer.scores(CLIENT, 0.0).values())


def test_all_alike_and_alpha_below_1_is_least_connections() -> None:
    scene = Scene([1, 1, 1], alpha=0.5)
    scene.report(40, 40, 40)
    scene.open(0, 4)
    scene.open(2, 2)
    assert scene.pick() == "1"


def test_a_report_that_grows_old_does_not_overload_the_acceptable() -> None:
    # The original's herd: whoever reported little got everything until the next report.
    scene = Scene([1, 1, 1, 1], coefficients=CPU_ALONE)
    scene.report(5, 80, 80, 80)
    for _ in range(200):
        scene.open(int(scene.pick()))
        total = sum(backend.active for backend in scene.backends)
        assert scene.backends[0].active <= 1 + 1.25 * total / 4
    # It gets as much as the bound allows, and the others the rest.
    assert scene.backends[0].active == 63
    assert "more than its share" in scene.balancer.reason(CLIENT, scene.backends[1], 0.0)


def test_a_report_expires() -> None:
    scene = Scene([1, 1], coefficients=CPU_ALONE, report_ttl_s=2.0)
    scene.report(10, 90)
    assert set(scene.picks(10, now=2.0)) == {"0"}
    assert set(scene.picks(10, now=2.1)) == {"0", "1"}
    assert "nobody has reported" in scene.balancer.reason(CLIENT, scene.backends[0], 2.1)


def test_who_has_not_reported_counts_as_of_mean_load() -> None:
    scene = Scene([1, 1, 1], coefficients=CPU_ALONE, alpha=1.0)
    scene.report(20, 80)
    # The mean is 50: the first and the third are at most that.
    assert set(scene.picks(20)) == {"0", "2"}


def test_coefficients_weigh_the_utilisations() -> None:
    scene = Scene([1, 1], coefficients=(1.0, 3.0, 0.0, 0.0))
    scene.balancer.reported(scene.backends[0], LoadReport(cpu_pct=100.0, mem_pct=0.0), 0.0)
    scene.balancer.reported(scene.backends[1], LoadReport(cpu_pct=0.0, mem_pct=100.0), 0.0)
    scores = scene.balancer.scores(CLIENT, 0.0)
    assert scores[scene.backends[0]].startswith("load 25 per weight: acceptable")
    assert scores[scene.backends[1]].startswith("load 75 per weight: too much")


def test_factors_follow_the_connections_once_per_interval() -> None:
    scene = Scene([1, 1], gain=0.1, interval_s=1.0)
    scene.pick(0.0)
    scene.open(0, 3)
    scene.open(1, 1)
    scene.pick(0.9)
    assert "weight 1)" in scene.balancer.scores(CLIENT, 0.9)[scene.backends[0]]
    scene.pick(1.0)
    # LW is 1.5 and 0.5 of a mean of 1: f becomes 1 - 0.05 and 1 + 0.05.
    scores = scene.balancer.scores(CLIENT, 1.5)
    assert "weight 0.95)" in scores[scene.backends[0]]
    assert "weight 1.05)" in scores[scene.backends[1]]


def test_factors_stay_within_bounds() -> None:
    scene = Scene([1, 1], gain=50.0)
    scene.open(0, 9)
    for now in range(20):
        scene.pick(float(now))
    scores = scene.balancer.scores(CLIENT, 19.5)
    assert "weight 0.1)" in scores[scene.backends[0]]
    assert "weight 100)" in scores[scene.backends[1]]


def test_a_backend_that_goes_takes_its_load_with_it() -> None:
    scene = Scene([1, 1, 1], coefficients=CPU_ALONE, alpha=1.0)
    scene.report(0, 60, 90)
    assert set(scene.picks(10)) == {"0"}
    scene.backends[0].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    # The mean is 75 now.
    assert set(scene.picks(10)) == {"1"}


def test_in_a_large_group_a_report_takes_effect_after_a_while() -> None:
    scene = Scene([1] * 400, coefficients=CPU_ALONE)
    scene.report(*[50.0] * 400)
    scene.pick()
    scene.report(1.0, now=0.001)
    assert "nobody" in scene.balancer.reason(CLIENT, scene.backends[0], 0.001)
    # 50 us times 400.
    assert set(scene.picks(10, now=0.021)) == {"0"}


def test_slow_start_holds_back() -> None:
    scene = Scene([1, 1])
    backend = scene.backends[0]
    backend.slow_start.duration_s, backend.slow_start.floor = 10.0, 0.1
    backend.warm_up(0.0)
    assert scene.picks(110) == {"0": 10, "1": 100}


def test_strangers_and_members_that_left_do_no_harm() -> None:
    scene = Scene([1, 1])
    scene.balancer.reported(Backend("x", Address("192.0.2.9", 99)), LoadReport(cpu_pct=1.0), 0.0)
    scene.report(10, 90)
    scene.balancer.rebuild(scene.backends[1:], 0.0)
    scene.report(10, 90)
    assert set(scene.picks(5)) == {"1"}
    scene.balancer.rebuild([], 0.0)
    assert scene.balancer.pick(CLIENT, 0.0) is None
