"""Explanations: the algorithm's own pick, with everybody who could have been picked."""

import random
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.explain import explain
from nginy.balancer.registry import ALGORITHMS, make_balancer
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.strategies import STRATEGIES, LeastConnSettings

CLIENT = Address("192.0.2.1", 40000)


def backends_of(count: int) -> list[Backend]:
    return [Backend(f"b{i}", Address("192.0.2.9", i + 1), weight=i + 1) for i in range(count)]


def make(name: str, backends: list[Backend]) -> Balancer[Any]:
    balancer = make_balancer(STRATEGIES[name](type=name), random.Random(4))
    balancer.rebuild(backends, 0.0)
    return balancer


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_the_choice_is_the_pick_and_goes_on_as_the_picks_do(name: str) -> None:
    asked, served = backends_of(4), backends_of(4)
    explained, plain = make(name, asked), make(name, served)
    pools = BackendPool(asked), BackendPool(served)
    for number in range(20):
        explanation = explain(explained, CLIENT, number / 10)
        picked = plain.pick(CLIENT, number / 10)
        assert explanation.chosen is not None
        assert picked is not None
        assert explanation.chosen.id == picked.id
        assert explanation.reason
        pools[0].lease(explanation.chosen, explained, number / 10)
        pools[1].lease(picked, plain, number / 10)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_candidates_say_what_keeps_them_away(name: str) -> None:
    backends = backends_of(4)
    balancer = make(name, backends)
    backends[0].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    backends[1].set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    backends[2].set_max_connections(1, 0.0, Origin.FILE)
    BackendPool(backends).lease(backends[2], balancer, 0.0)
    explanation = explain(balancer, CLIENT, 0.0)
    assert [one.id for one in explanation.candidates] == ["b0", "b1", "b2", "b3"]
    assert [one.state for one in explanation.candidates] == ["down", "draining", "full", "usable"]
    assert [one.score for one in explanation.candidates][:3] == ["", "", ""]
    assert explanation.candidates[2].active == 1
    assert explanation.chosen is backends[3]


def test_nobody_usable() -> None:
    backends = backends_of(1)
    balancer = make("round_robin", backends)
    backends[0].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    explanation = explain(balancer, CLIENT, 0.0)
    assert explanation.chosen is None
    assert explanation.reason == "no backend is usable"


def test_tiers() -> None:
    backends = backends_of(3)
    backends[2].backup = True
    balancer = Tiers(LeastConnSettings(), random.Random(1), RosterPolicy(), try_all=True)
    balancer.rebuild(backends, 0.0)
    for backend in backends[:2]:
        backend.set_healthy(False, 0.0)
    explanation = explain(balancer, CLIENT, 0.0)
    assert explanation.chosen is backends[2]
    assert "backup" in explanation.reason
    assert [(one.id, one.backup) for one in explanation.candidates] == [
        ("b0", False),
        ("b1", False),
        ("b2", True),
    ]


def test_a_penalty_that_is_over_is_no_obstacle() -> None:
    backends = backends_of(2)
    backends[0].penalty.max_fails, backends[0].penalty.fail_timeout_s = 1, 10.0
    balancer = make("round_robin", backends)
    backends[0].failed(0.0)
    assert explain(balancer, CLIENT, 1.0).candidates[0].state == "penalised"
    assert explain(balancer, CLIENT, 10.1).candidates[0].state == "usable"
