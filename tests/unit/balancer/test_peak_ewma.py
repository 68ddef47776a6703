"""Peak EWMA against Finagle's rule, computed independently, and what it is for."""

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
from nginy.backend.pool import BackendPool, Outcome
from nginy.backend.wishes import Origin
from nginy.balancer.peak_ewma import FAILED_MS, PeakCost, PeakEwma, load_ms
from nginy.config.strategies import PeakEwmaSettings

DERIVED = json.loads((Path(__file__).parents[2] / "data/vectors/derived_examples.json").read_text())
CLIENT = Address("192.0.2.1", 40000)


def cases(key: str) -> list[str]:
    names = [name for name in DERIVED["input"] if name.startswith("peak_ewma")]
    return [name for name in names if key in DERIVED["input"][name]]


def initial(config: dict[str, Any]) -> PeakCost:
    return PeakCost(config.get("default_rtt_ms", 0.0), 0.0)


@pytest.mark.parametrize("case", cases("ops"))
def test_loads_are_finagles(case: str) -> None:
    config = DERIVED["config"][case]
    cost, pending, loads = initial(config), 0, []
    for verb, at, *latency_ms in DERIVED["input"][case]["ops"]:
        if verb == "load":
            loads.append(load_ms(cost.read(at, config["tau_s"]), pending))
        elif verb == "start":
            pending += 1
        else:
            pending -= 1
            cost.observe(latency_ms[0], at, config["tau_s"])
    assert loads == pytest.approx(DERIVED["expected"][case]["loads"])


@pytest.mark.parametrize("case", cases("loads_at_s"))
def test_an_assumed_latency_decays(case: str) -> None:
    config = DERIVED["config"][case]
    cost = initial(config)
    loads = [
        load_ms(cost.read(at, config["tau_s"]), 0) for at in DERIVED["input"][case]["loads_at_s"]
    ]
    assert loads == pytest.approx(DERIVED["expected"][case]["loads"])


@given(observed=st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 1e4)), min_size=1, max_size=30))
def test_the_estimate_is_never_above_the_peak_and_jumps_to_a_new_one(
    observed: list[tuple[float, float]],
) -> None:
    cost, now = PeakCost(0.0, 0.0), 0.0
    for step, latency_ms in observed:
        now += step
        before = cost.decayed(now, 10.0)
        cost.observe(latency_ms, now, 10.0)
        assert min(before, latency_ms) * (1 - 1e-9) <= cost.cost_ms
        assert cost.cost_ms <= max(latency_ms for _, latency_ms in observed) * (1 + 1e-9)
        assert latency_ms <= before or cost.cost_ms >= before * (1 - 1e-9)


def make(count: int, **settings: Any) -> tuple[PeakEwma, list[Backend]]:
    backends = [Backend(str(i), Address("192.0.2.9", i + 1)) for i in range(count)]
    balancer = PeakEwma(PeakEwmaSettings(**settings), random.Random(7))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


def serve(
    balancer: PeakEwma, backends: list[Backend], latency_s: dict[str, float], count: int
) -> Counter[str]:
    """One connection after the other, 10 ms apart; who got them."""
    pool, picked = BackendPool(backends), Counter[str]()
    for number in range(count):
        now = number / 100
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        picked[backend.id] += 1
        lease = pool.lease(backend, balancer, now)
        seconds = latency_s[backend.id]
        lease.connected(seconds, now + seconds)
        lease.first_byte(seconds, now + seconds)
        outcome = Outcome(duration_s=seconds, connect_s=seconds, first_byte_s=seconds, bytes_up=1)
        lease.release(outcome, now + seconds)
    return picked


@pytest.mark.parametrize("metric", ["connect", "first_byte", "last_byte"])
def test_the_slow_one_gets_little(metric: str) -> None:
    balancer, backends = make(3, metric=metric)
    picked = serve(balancer, backends, {"0": 0.001, "1": 0.001, "2": 0.009}, 300)
    # Of two out of three drawn, the slow one is never the better one while it is remembered.
    assert picked["2"] < 30


def test_wants_the_first_byte_only_if_it_is_the_metric() -> None:
    assert make(1, metric="first_byte")[0].wants_progress
    assert not make(1, metric="connect")[0].wants_progress


def test_each_unknown_backend_is_tried_by_one_connection_at_a_time() -> None:
    balancer, backends = make(4)
    pool, picked = BackendPool(backends), []
    for _ in range(2):
        backend = balancer.pick(CLIENT, 1.0, picked)
        assert backend is not None
        pool.lease(backend, balancer, 1.0)
        picked.append(backend)
    for _ in range(50):
        # Of any two, one that is not being tried yet is preferred.
        chosen = balancer.pick(CLIENT, 1.0, [picked[0]])
        assert chosen not in picked


def test_a_backend_that_refuses_at_once_does_not_attract() -> None:
    balancer, backends = make(2)
    pool, picked = BackendPool(backends), Counter[str]()
    for number in range(200):
        now = number / 100
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        picked[backend.id] += 1
        failed = backend is backends[0]
        outcome = Outcome(failed=failed, duration_s=1e-4 if failed else 0.01, bytes_up=1)
        pool.lease(backend, balancer, now).release(outcome, now)
    assert picked["0"] <= 2


def test_a_failed_attempt_is_told_in_the_scores() -> None:
    balancer, backends = make(2)
    balancer.closed(backends[0], Outcome(failed=True, duration_s=0.001), 1.0)
    assert f"{FAILED_MS:.4g} ms" in balancer.scores(CLIENT, 1.0)[backends[0]]
    assert "unknown" in balancer.scores(CLIENT, 1.0)[backends[1]]


def test_a_client_that_asked_and_was_never_answered_counts() -> None:
    balancer, backends = make(2)
    balancer.closed(backends[0], Outcome(duration_s=2.0, bytes_up=10), 1.0)
    balancer.closed(backends[1], Outcome(duration_s=2.0), 1.0)
    scores = balancer.scores(CLIENT, 1.0)
    assert "2000 ms" in scores[backends[0]]
    assert "unknown" in scores[backends[1]]


def test_weight_divides_the_load() -> None:
    balancer, backends = make(2, initial_ms=10.0)
    backends[0].set_weight(4, 0.0, Origin.FILE)
    pool, picked = BackendPool(backends), Counter[str]()
    for _ in range(100):
        backend = balancer.pick(CLIENT, 0.0)
        assert backend is not None
        pool.lease(backend, balancer, 0.0)
        picked[backend.id] += 1
    assert picked == {"0": 80, "1": 20}


def test_estimates_survive_a_rebuild_and_go_with_their_backend() -> None:
    balancer, backends = make(2)
    balancer.closed(backends[0], Outcome(failed=True), 1.0)
    balancer.rebuild(backends, 1.0)
    assert "1000 ms" in balancer.scores(CLIENT, 1.0)[backends[0]]
    balancer.rebuild(backends[1:], 1.0)
    balancer.closed(backends[0], Outcome(failed=True), 1.0)
    balancer.rebuild(backends, 1.0)
    assert "unknown" in balancer.scores(CLIENT, 1.0)[backends[0]]
