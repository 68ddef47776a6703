"""The load bound: never exceeded, never a dead end, exact at all times."""

import random
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.bounded import LoadBound
from nginy.balancer.registry import ALGORITHMS, make_balancer
from nginy.config.strategies import STRATEGIES, StrategySettings

FACTORS = st.sampled_from([1.01, 1.25, 1.5, 2.0])


def bounded(name: str, factor: float) -> StrategySettings:
    if name == "source":
        return STRATEGIES[name](type=name, method="consistent", load_factor=factor)
    if name == "maglev":  # a small table: hypothesis makes many
        return STRATEGIES[name](type=name, table_size=251, load_factor=factor)
    return STRATEGIES[name](type=name, load_factor=factor)


every_bounded = pytest.mark.parametrize(
    "name", [n for n in sorted(ALGORITHMS) if "load_factor" in STRATEGIES[n].model_fields]
)


class Rig:
    """A bounded algorithm and what is open."""

    def __init__(self, settings: StrategySettings, weights: list[int]) -> None:
        self.backends = [
            Backend(f"b{i}", Address(f"10.0.0.{i + 1}", 80), weight=w)
            for i, w in enumerate(weights)
        ]
        self.pool = BackendPool(self.backends)
        self.balancer: Balancer[Any] = make_balancer(settings, random.Random(0))
        self.balancer.rebuild(self.backends, 0.0)
        self.leases: list[Lease] = []

    def open(self, key: int) -> Backend | None:
        client = Address(f"192.0.2.{key}", 40000)
        backend = self.balancer.pick(client, 0.0)
        if backend is not None:
            self.leases.append(self.pool.lease(backend, self.balancer, 0.0))
        return backend

    def close(self, number: int) -> None:
        if self.leases:
            self.leases.pop(number % len(self.leases)).release(Outcome(), 0.0)


operations = st.lists(
    st.one_of(
        # few keys: hot ones, which is what the bound is for
        st.tuples(st.just("open"), st.integers(1, 4)),
        st.tuples(st.just("open"), st.integers(1, 254)),
        st.tuples(st.just("close"), st.integers(0, 1000)),
        st.tuples(st.just("toggle"), st.integers(0, 7)),
        st.tuples(st.just("limit"), st.integers(0, 7)),
    ),
    max_size=60,
)
pools = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@every_bounded
@given(weights=pools, factor=FACTORS, script=operations)
def test_never_above_the_bound_and_never_a_dead_end(
    name: str, weights: list[int], factor: float, script: list[tuple[str, int]]
) -> None:
    rig = Rig(bounded(name, factor), weights)
    for operation, number in script:
        backend = rig.backends[number % len(rig.backends)]
        if operation == "close":
            rig.close(number)
        elif operation == "toggle":
            other = Admin.DOWN if backend.admin is Admin.READY else Admin.READY
            backend.set_admin(other, 0.0, Origin.FILE)
        elif operation == "limit":
            backend.set_max_connections(0 if backend.max_connections else 2, 0.0, Origin.FILE)
        else:
            usable = [b for b in rig.backends if b.available(0.0)]
            carried = {b: b.active for b in usable}
            chosen = rig.open(number)
            assert (chosen is None) == (not usable)
            if chosen is not None:
                fair = (sum(carried.values()) + 1) * chosen.weight / sum(b.weight for b in usable)
                # whole connections: the bound itself is rounded up, and so is the total it is of
                assert chosen.active <= max(1, ceil(factor * fair + 1))


@every_bounded
@given(
    weights=pools,
    factor=FACTORS,
    script=st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "toggle", "limit", "weigh"]), st.integers(0, 99)
        ),
        max_size=50,
    ),
)
def test_the_running_totals_are_those_of_a_bound_made_afresh(
    name: str, weights: list[int], factor: float, script: list[tuple[str, int]]
) -> None:
    """Up to the one slot by which shares are rounded while somebody is full."""
    rig = Rig(bounded(name, factor), weights)
    kept: LoadBound = rig.balancer._bound  # type: ignore[attr-defined]
    for operation, number in script:
        backend = rig.backends[number % len(rig.backends)]
        if operation == "open":
            for key in range(number % 10):  # several, so that a wrong share is more than a slot
                rig.open(key)
        elif operation == "close":
            rig.close(number)
        elif operation == "toggle":
            ready = backend.admin is Admin.READY
            backend.set_admin(Admin.DOWN if ready else Admin.READY, 0.0, Origin.FILE)
        elif operation == "limit":
            backend.set_max_connections(0 if backend.max_connections else 1, 0.0, Origin.FILE)
        else:
            backend.set_weight(number % 5, 0.0, Origin.FILE)
        fresh = LoadBound(factor, rig.balancer.roster)
        for usable in rig.balancer.roster.usable:
            assert abs(kept.slots(usable) - fresh.slots(usable)) <= 1
        anybody = rig.balancer.roster.usable
        assert not anybody or any(kept.admits(b) for b in anybody)


def test_one_hot_client_is_spread_only_as_far_as_the_bound_asks() -> None:
    rig = Rig(bounded("ring_hash", 1.25), [1, 1, 1, 1])
    for _ in range(100):
        rig.open(1)
    loads = sorted((backend.active for backend in rig.backends), reverse=True)
    assert sum(loads) == 100
    assert loads[0] <= 32
    # everything the first three may carry is there before the fourth gets its rest
    assert loads[3] < 25


def test_a_full_backend_does_not_hold_the_others_back() -> None:
    """Its connections and its share are left out: else its limit of 1 would be theirs, nearly."""
    rig = Rig(bounded("maglev", 1.25), [1, 1])
    rig.backends[0].set_max_connections(1, 0.0, Origin.FILE)
    for key in range(1, 100):
        assert rig.open(key) is not None
    assert [backend.active for backend in rig.backends] == [1, 98]


def test_the_slots_of_those_who_are_up_are_shared_out_exactly() -> None:
    """HAProxy's rounding, along the running sum of shares: no slot too many."""
    rig = Rig(bounded("maglev", 1.25), [4, 2, 3])
    for key in range(1, 40):
        rig.open(key)
    rig.backends[0].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    up = rig.backends[1:]
    for _ in range(5):
        total = -(-(sum(backend.active for backend in up) + 1) * 125 // 100)
        slots = [rig.balancer._bound.slots(backend) for backend in up]  # type: ignore[attr-defined]
        assert slots == [2 * total // 5, total - 2 * total // 5]
        rig.open(1)


def test_gaps_left_by_full_backends_cost_no_slots() -> None:
    """Rounded along a sum with gaps, the four would have one slot each, and all are taken."""
    rig = Rig(bounded("ring_hash", 1.01), [1] * 7)
    bound: LoadBound = rig.balancer._bound  # type: ignore[attr-defined]
    assert bound.slots(rig.backends[0]) == 1
    for number, backend in enumerate(rig.backends):
        backend.set_max_connections(number % 2, 0.0, Origin.FILE)
        backend.opened(0.0)
    assert rig.balancer.roster.usable == set(rig.backends[::2])
    assert all(bound.admits(backend) for backend in rig.backends[::2])


@every_bounded
def test_a_new_weight_moves_the_bound_at_once(name: str) -> None:
    rig = Rig(bounded(name, 1.25), [1, 1, 1, 1])
    bound: LoadBound = rig.balancer._bound  # type: ignore[attr-defined]
    for key in range(79):
        rig.open(key)
    assert [bound.slots(backend) for backend in rig.backends] == [25] * 4
    rig.backends[0].set_weight(7, 0.0, Origin.FILE)
    assert [bound.slots(backend) for backend in rig.backends] == [70, 10, 10, 10]


@every_bounded
def test_a_retry_goes_beyond_the_bound_rather_than_nowhere(name: str) -> None:
    """What the bound leaves to one backend cannot serve a connection that has tried that one."""
    rig = Rig(bounded(name, 1.01), [1, 1])
    crowded, with_room = rig.backends
    for _ in range(30):
        crowded.opened(0.0)
    assert {rig.balancer.pick(Address("192.0.2.1", port), 0.0) for port in range(9)} == {with_room}
    assert rig.balancer.pick(Address("192.0.2.1", 40000), 0.0, [with_room]) is crowded


def test_slow_start_makes_the_bound_of_a_newcomer_smaller() -> None:
    rig = Rig(bounded("maglev", 1.25), [1, 1])
    rig.backends[0].slow_start.duration_s = 10.0
    rig.backends[0].warm_up(0.0)
    for key in range(1, 45):
        rig.open(key)
    assert rig.backends[0].active <= ceil(45 * 1.25 * 0.1 / 1.1) + 1 < rig.backends[1].active


def test_a_bound_taken_away_leaves_nobody_listening() -> None:
    rig = Rig(bounded("maglev", 1.25), [1, 1])
    rig.balancer.rebuild([], 0.0)
    assert [backend.load_watchers for backend in rig.backends] == [[], []]
    assert [backend.watchers for backend in rig.backends] == [[], []]
