"""Who keeps a client when backends come and go, and how evenly clients are spread."""

import random
from collections import Counter
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.config.strategies import (
    KetamaSettings,
    MaglevSettings,
    RingHashSettings,
    SourceSettings,
    StrategySettings,
)

ALL: dict[str, StrategySettings] = {
    "ketama": KetamaSettings(),
    "maglev": MaglevSettings(),
    "maglev_small": MaglevSettings(table_size=251),
    "ring_hash": RingHashSettings(),
    "source": SourceSettings(method="consistent"),
}
every = pytest.mark.parametrize("name", sorted(ALL))
own = pytest.mark.parametrize("name", sorted(ALL.keys() - {"ketama"}))
# hypothesis makes hundreds: without the large table
quick = pytest.mark.parametrize("name", sorted(ALL.keys() - {"maglev"}))
own_quick = pytest.mark.parametrize("name", sorted(ALL.keys() - {"ketama", "maglev"}))
KEYS = [Address(f"10.{i % 211}.{i // 211}.{i % 13}", 40000) for i in range(4000)]
FEW = KEYS[::40]


def pool(weights: list[int]) -> list[Backend]:
    return [
        Backend(f"b{i}", Address("127.0.0.1", 21000 + i), weight=w) for i, w in enumerate(weights)
    ]


def make(name: str, backends: list[Backend]) -> Balancer[Any]:
    balancer = make_balancer(ALL[name], random.Random(0))
    balancer.rebuild(backends, 0.0)
    return balancer


def picks(balancer: Balancer[Any], clients: list[Address] = KEYS) -> list[Backend | None]:
    return [balancer.pick(client, 0.0) for client in clients]


def moved(before: list[Backend | None], after: list[Backend | None]) -> list[Backend | None]:
    """The former backends of the keys that have another one now."""
    return [old for old, new in zip(before, after, strict=True) if old is not new]


@every
def test_a_backend_that_goes_down_loses_its_keys_to_all_and_gets_them_back(name: str) -> None:
    backends = pool([1, 1, 1, 1, 1])
    balancer = make(name, backends)
    home = picks(balancer)
    backends[2].set_healthy(False, 0.0)
    during = picks(balancer)
    assert moved(home, during) == [backends[2]] * home.count(backends[2])
    heirs = Counter(new for old, new in zip(home, during, strict=True) if old is backends[2])
    assert heirs.keys() == set(backends) - {backends[2]}
    assert max(heirs.values()) < 0.6 * heirs.total()  # of four; one heir alone would be 1.0
    backends[2].set_healthy(True, 0.0)
    assert picks(balancer) == home


toggles = st.lists(st.integers(0, 5), max_size=12)


@quick
@given(weights=st.lists(st.integers(1, 5), min_size=1, max_size=6), script=toggles)
def test_a_key_whose_backend_is_up_keeps_it_whatever_happens_to_others(
    name: str, weights: list[int], script: list[int]
) -> None:
    backends = pool(weights)
    balancer = make(name, backends)
    home = picks(balancer, FEW)
    for number in script:
        backend = backends[number % len(backends)]
        ready = backend.admin is Admin.READY
        backend.set_admin(Admin.DRAIN if ready else Admin.READY, 0.0, Origin.FILE)
        for client, kept, now in zip(FEW, home, picks(balancer, FEW), strict=True):
            assert kept is not None
            assert now is kept or kept.admin is Admin.DRAIN, client
            assert now is None or now.admin is Admin.READY


@own_quick
@given(weights=st.lists(st.integers(1, 5), min_size=2, max_size=6), order=st.permutations(range(6)))
def test_one_more_going_down_moves_nobody_but_its_own(
    name: str, weights: list[int], order: list[int]
) -> None:
    """Away from home, too: each key has an order of all backends."""
    backends = pool(weights)
    balancer = make(name, backends)
    going = [backends[number] for number in order if number < len(backends)]
    stages = [picks(balancer, FEW)]
    for backend in going:
        backend.set_healthy(False, 0.0)
        stages.append(picks(balancer, FEW))
    for backend, (before, after) in zip(going, pairwise(stages), strict=True):
        assert set(moved(before, after)) <= {backend}
    assert set(stages[-1]) == {None}


# name: points per backend of ten equal ones (theory of rings: a share's variance is 1/points)
RINGS = {"ketama": 160, "ring_hash": 103}


@pytest.mark.parametrize("name", sorted(RINGS))
def test_one_of_ten_down_moves_a_tenth_of_the_keys_as_far_as_rings_go(name: str) -> None:
    points, n = RINGS[name], 10
    backends = pool([1] * n)
    balancer = make(name, backends)
    home = picks(balancer)
    backends[4].set_healthy(False, 0.0)
    share = len(moved(home, picks(balancer))) / len(KEYS)
    spread = sqrt((1 / n) * (1 - 1 / n) * (1 / (points * n + 1) + 1 / len(KEYS)))
    assert abs(share - 1 / n) < 4 * spread


def test_taking_a_backend_out_of_a_ketama_ring_moves_its_keys_alone() -> None:
    backends = pool([1] * 10)
    balancer = make("ketama", backends)
    home = picks(balancer)
    balancer.rebuild(backends[:4] + backends[5:], 0.0)
    assert set(moved(home, picks(balancer))) == {backends[4]}


def test_taking_a_backend_out_of_a_ring_hash_moves_twice_its_share() -> None:
    """The ring stays at 1024 points or more, so nine have more of them than ten had."""
    backends = pool([1] * 10)
    balancer = make("ring_hash", backends)
    home = picks(balancer)
    balancer.rebuild(backends[:4] + backends[5:], 0.0)
    all_moved = moved(home, picks(balancer))
    assert home.count(backends[4]) < len(all_moved) < 0.25 * len(KEYS)


def moved_without_the_first(ids: list[str]) -> tuple[Backend, list[Backend | None]]:
    backends = [Backend(name, Address("127.0.0.1", 21000 + i)) for i, name in enumerate(ids)]
    balancer = make("source", backends)
    home = picks(balancer)
    balancer.rebuild(backends[1:], 0.0)
    return backends[0], moved(home, picks(balancer))


def test_source_goes_by_ids_that_are_numbers_else_by_places_that_shift() -> None:
    first, numbered = moved_without_the_first([str(i + 1) for i in range(10)])
    assert set(numbered) == {first}
    _, named = moved_without_the_first([f"s{i}" for i in range(10)])
    assert len(named) > 0.4 * len(KEYS)


# Relative standard deviation of a share, per weight: rings 1/sqrt(points), the nearest-point rule
# half the variance; Maglev's slots are exact.
POINTS_PER_WEIGHT = {"ketama": 160.0, "ring_hash": 94.0, "source": 2 * 16.0, "maglev": 65537 / 11}


@pytest.mark.parametrize("name", sorted(POINTS_PER_WEIGHT))
def test_shares_follow_weights_within_the_imbalance_of_the_method(name: str) -> None:
    weights = [1, 2, 3, 1, 4]
    counts = Counter(picks(make(name, pool(weights)), KEYS))
    got = {backend.id: count for backend, count in counts.items() if backend is not None}
    for i, weight in enumerate(weights):
        part = weight / sum(weights)
        points = POINTS_PER_WEIGHT[name] * weight
        variance = (1 - part) / points + (1 - part) / (len(KEYS) * part)
        assert abs(got[f"b{i}"] / len(KEYS) / part - 1) < 4 * sqrt(variance)


@every
def test_draining_keeps_the_place_and_slow_start_moves_nobody(name: str) -> None:
    backends = pool([1, 2, 3])
    balancer = make(name, backends)
    home = picks(balancer)
    backends[1].set_weight(0, 0.0, Origin.FILE)
    assert set(moved(home, picks(balancer))) == {backends[1]}
    backends[1].set_weight(2, 0.0, Origin.FILE)
    assert picks(balancer) == home
    backends[1].slow_start.duration_s = 10.0
    backends[1].warm_up(0.0)
    assert backends[1].share < 200
    assert picks(balancer) == home


@pytest.mark.parametrize("name", ["ketama", "source"])
def test_more_weight_at_run_time_takes_keys_and_moves_no_others(name: str) -> None:
    backends = pool([1, 1, 1, 1])
    balancer = make(name, backends)
    home = picks(balancer)
    backends[1].set_weight(2, 0.0, Origin.FILE)
    after = picks(balancer)
    gains = [new for old, new in zip(home, after, strict=True) if old is not new]
    assert set(gains) == {backends[1]}
    assert after.count(backends[1]) > 1.3 * home.count(backends[1])


@every
def test_what_is_hashed(name: str) -> None:
    balancer = make(name, pool([1] * 8))
    ports = [Address("192.0.2.1", port) for port in range(40000, 40100)]
    assert len(set(picks(balancer, ports))) == 1
    assert len(set(picks(balancer, [Address("::ffff:192.0.2.1", 1), ports[0]]))) == 1
    if "key" in type(ALL[name]).model_fields:
        settings = ALL[name].model_copy(update={"key": "address_port"})
        each = make_balancer(settings, random.Random(0))
        each.rebuild(balancer.roster.members, 0.0)
        assert len(set(picks(each, ports))) == 8


@pytest.mark.parametrize("name", ["maglev", "ring_hash", "ketama"])
def test_the_order_of_equal_backends_in_the_list_does_not_matter(name: str) -> None:
    backends = pool([1, 1, 1, 1, 1])
    assert picks(make(name, backends)) == picks(make(name, backends[::-1]))


@pytest.mark.parametrize("name", ["maglev", "ring_hash"])
def test_a_retry_goes_where_the_key_would_go_if_the_backend_were_down(name: str) -> None:
    backends = pool([1, 2, 3, 1])
    balancer = make(name, backends)
    for client in FEW:
        first = balancer.pick(client, 0.0)
        assert first is not None
        retry = balancer.pick(client, 0.0, [first])
        first.set_healthy(False, 0.0)
        assert retry is balancer.pick(client, 0.0)
        first.set_healthy(True, 0.0)


@own
def test_the_explanation_names_who_was_passed_over_and_why(name: str) -> None:
    settings = ALL[name].model_copy(update={"load_factor": 1.25})
    backends = pool([1, 1, 1, 1])
    balancer = make_balancer(settings, random.Random(0))
    balancer.rebuild(backends, 0.0)
    client = KEYS[0]
    hot = balancer.pick(client, 0.0)
    assert hot is not None
    hot.opened(0.0)
    scores = balancer.scores(client, 0.0)
    assert set(scores) == set(backends)
    assert scores[hot] == "number 1 in the client's order, 1 of 1 slots taken"
    chosen = balancer.pick(client, 0.0)
    assert chosen is not None
    said = balancer.reason(client, chosen, 0.0)
    assert f" {hot.id}; {hot.id} has 1 of 1 slots taken; next is {chosen.id}" in said
    assert "10.0.0.0" in said
    if name == "source":
        return  # nearest among the usable: who is away is not on the way
    hot.released(0.0)
    hot.set_admin(Admin.DOWN, 0.0, Origin.FILE)
    assert f"{hot.id} is down; next is" in balancer.reason(client, chosen, 0.0)


def test_a_backend_without_a_point_on_too_small_a_ring_is_found_when_it_is_the_last() -> None:
    settings = RingHashSettings(minimum_ring_size=1, maximum_ring_size=2)
    backends = pool([1] * 5)
    balancer = make_balancer(settings, random.Random(0))
    balancer.rebuild(backends, 0.0)
    for backend in backends[:-1]:
        backend.set_healthy(False, 0.0)
    assert set(picks(balancer, FEW)) == {backends[-1]}
