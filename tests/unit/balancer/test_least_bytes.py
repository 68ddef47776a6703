"""Least bytes: the decayed rate, its order, newcomers, and bursts without news."""

import random
from collections import Counter
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.least_bytes import LeastBytes
from nginy.config.strategies import LeastBytesSettings

CLIENT = Address("192.0.2.1", 40000)
DECAY_S = 10.0


def make(*weights: int) -> tuple[LeastBytes, list[Backend]]:
    backends = [Backend(str(i), Address("192.0.2.9", i + 1), w) for i, w in enumerate(weights)]
    balancer = LeastBytes(LeastBytesSettings(decay_s=DECAY_S), random.Random(1))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


@given(
    weights=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 10**9), st.floats(0, 5000)), max_size=40
    ),
)
def test_the_least_decayed_sum_per_weight_wins(
    weights: list[int], steps: list[tuple[int, int, float]]
) -> None:
    balancer, backends = make(*weights)
    sums, now = [0.0] * len(weights), 0.0
    for number, byte_count, wait_s in steps:
        place = number % len(weights)
        now += wait_s
        sums = [each * exp(-wait_s / DECAY_S) for each in sums]
        sums[place] += byte_count
        balancer.moved(backends[place], byte_count, now)
        chosen = balancer.pick(CLIENT, now)
        assert chosen is not None
        least = min(each / weight for each, weight in zip(sums, weights, strict=True))
        of_chosen = sums[int(chosen.id)] / chosen.weight
        # What has decayed to less than a thousandth of a byte is as good as nothing.
        assert of_chosen == pytest.approx(least, rel=1e-6, abs=1e-3)


def test_ties_go_in_turn_by_weight() -> None:
    balancer, _ = make(5, 1, 1)
    picks = [balancer.pick(CLIENT, 0.0) for _ in range(14)]
    assert Counter(backend.id for backend in picks if backend) == {"0": 10, "1": 2, "2": 2}


def serve(balancer: LeastBytes, backends: list[Backend], count: int, sizes: list[int]) -> Counter:
    """Connections one after the other, each over before the next."""
    pool, picked = BackendPool(backends), Counter[str]()
    for number in range(count):
        now = number / 100
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        picked[backend.id] += 1
        lease = pool.lease(backend, balancer, now)
        size = sizes[number % len(sizes)]
        lease.moved(size, now)
        lease.release(Outcome(bytes_down=size), now)
    return picked


def test_bytes_are_shared_by_weight() -> None:
    balancer, backends = make(3, 1)
    picked = serve(balancer, backends, 400, [1000])
    assert abs(picked["0"] - 300) <= 3


def test_a_burst_without_news_of_its_bytes_does_not_go_to_one_backend() -> None:
    balancer, backends = make(1, 1, 1, 1)
    serve(balancer, backends, 40, [1000])
    pool, picked = BackendPool(backends), Counter[str]()
    for _ in range(100):
        backend = balancer.pick(CLIENT, 0.5)
        assert backend is not None
        picked[backend.id] += 1
        pool.lease(backend, balancer, 0.5)
    assert max(picked.values()) <= 27


def test_a_newcomer_does_not_take_everything() -> None:
    balancer, backends = make(1, 1)
    serve(balancer, backends, 200, [10_000])
    newcomer = Backend("2", Address("192.0.2.9", 9))
    balancer.rebuild([newcomer, *backends], 2.0)
    # Connections that carry nothing: their bytes would never level it with the others.
    pool, picked = BackendPool([newcomer, *backends]), Counter[str]()
    for _ in range(90):
        backend = balancer.pick(CLIENT, 2.0)
        assert backend is not None
        picked[backend.id] += 1
        pool.lease(backend, balancer, 2.0)
    assert abs(picked["2"] - 30) <= 3


def test_who_was_away_counts_as_if_it_had_carried_the_mean() -> None:
    balancer, backends = make(1, 1, 1)
    serve(balancer, backends, 300, [10_000])
    backends[0].set_admin(Admin.DOWN, 3.0, Origin.FILE)
    now = 3.0
    for _ in range(400):
        now += 0.1
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        balancer.moved(backend, 10_000, now)
    backends[0].set_admin(Admin.READY, now, Origin.FILE)
    picked = Counter[str]()
    for _ in range(60):
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        picked[backend.id] += 1
        balancer.moved(backend, 10_000, now)
    assert abs(picked["0"] - 20) <= 3


def test_a_backend_that_refuses_everybody_does_not_attract() -> None:
    balancer, backends = make(1, 1)
    serve(balancer, backends, 20, [10_000])
    pool, picked = BackendPool(backends), Counter[str]()
    for number in range(100):
        now = 1 + number / 100
        backend = balancer.pick(CLIENT, now)
        assert backend is not None
        picked[backend.id] += 1
        lease = pool.lease(backend, balancer, now)
        if backend is backends[0]:
            lease.release(Outcome(failed=True), now)
        else:
            lease.moved(10_000, now)
            lease.release(Outcome(bytes_down=10_000), now)
    assert picked["0"] <= 55


def test_what_was_booked_and_did_not_come_is_taken_back() -> None:
    balancer, backends = make(1, 1)
    serve(balancer, backends, 2, [10_000])
    before = dict(balancer.scores(CLIENT, 1.0))
    pool = BackendPool(backends)
    for backend in backends:
        pool.lease(backend, balancer, 1.0).release(Outcome(), 1.0)
    assert dict(balancer.scores(CLIENT, 1.0)) == before


def test_years_of_uptime_overflow_nothing() -> None:
    balancer, backends = make(1, 1)
    for days in range(0, 4000, 100):
        now = days * 86_400.0
        balancer.moved(backends[0], 10**12, now)
        assert balancer.pick(CLIENT, now) is backends[1]
