"""Ketama beyond the recorded answers: names, movement, bounded loads."""

import random
from collections import Counter
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Outcome
from nginy.backend.wishes import Origin
from nginy.balancer.ketama import Ketama, KetamaRing, name_text, points_of
from nginy.config.strategies import KetamaSettings

CLIENTS = [Address(f"10.{i % 251}.{i % 241}.{i % 239}", 40000) for i in range(2000)]


def make(weights: list[int], load_factor: float | None = None) -> tuple[Ketama, list[Backend]]:
    backends = [Backend(str(i), Address("10.9.0.1", 80 + i), w) for i, w in enumerate(weights)]
    balancer = Ketama(KetamaSettings(load_factor=load_factor), random.Random(0))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("10.0.0.1:80", b"10.0.0.1\x0080"),
        ("web.example:8080", b"web.example\x008080"),
        ("web.example", b"web.example\x00"),
        ("[2001:db8::1]:80", b"[2001:db8::1]\x0080"),
        ("unix:/run/a:80", b"/run/a:80\x00"),
    ],
)
def test_the_text_that_nginx_hashes_of_a_name(name: str, text: bytes) -> None:
    assert name_text(name) == text


def test_more_weight_adds_points_and_moves_none() -> None:
    assert list(points_of("a:1", 3))[:160] == list(points_of("a:1", 1))


def test_names_and_not_addresses_are_hashed() -> None:
    one, other = make([1, 1, 1]), make([1, 1, 1])
    for number, backend in enumerate(other[1]):
        backend.address = Address("192.0.2.99", 1000 + number)
    other[0].rebuild(other[1], 0.0)
    chosen = [[pair[0].pick(client, 0.0) for client in CLIENTS[:200]] for pair in (one, other)]
    assert [b and b.id for b in chosen[0]] == [b and b.id for b in chosen[1]]


@settings(max_examples=20)
@given(weights=st.lists(st.integers(1, 4), min_size=3, max_size=8), gone=st.integers(0, 7))
def test_removal_moves_the_keys_of_the_removed_one_alone(weights: list[int], gone: int) -> None:
    balancer, backends = make(weights)
    removed = backends[gone % len(backends)]
    before = [balancer.pick(client, 0.0) for client in CLIENTS]
    balancer.rebuild([backend for backend in backends if backend is not removed], 0.0)
    after = [balancer.pick(client, 0.0) for client in CLIENTS]
    for old, new in zip(before, after, strict=True):
        assert (new is not old) == (old is removed)


def test_shares_follow_weights_within_what_160_points_allow() -> None:
    """A share's coefficient of variation is about 1 / sqrt(160 weight)."""
    weights = [1, 2, 3, 4]
    balancer, _ = make(weights)
    ring = KetamaRing()
    ring.members_changed(balancer.roster.members, 0.0)
    held: Counter[str] = Counter()
    for place, point in enumerate(ring.points):
        held[ring.owners(place)[0].id] += (point - ring.points[place - 1]) % 2**32
    for number, weight in enumerate(weights):
        share = held[str(number)] / 2**32
        assert share == pytest.approx(weight / 10, rel=4 / sqrt(160 * weight))


def test_equal_points_belong_to_the_first() -> None:
    twins = [Backend(str(i), Address("10.9.0.1", 80), hash_name="same:80") for i in range(2)]
    ring = KetamaRing()
    ring.members_changed(twins, 0.0)
    assert len(ring.points) == len(set(ring.points)) <= 160
    assert list(ring.owners(0)) == twins


def test_rings_of_the_same_backends_share_their_points_and_not_their_changes() -> None:
    """Rules have a ring each, and many rules may have the same backends."""
    _, backends = make([1, 2, 3])
    rings = [KetamaRing() for _ in range(3)]
    for ring, members in zip(rings, (backends, backends, backends[:2]), strict=True):
        ring.members_changed(members, 0.0)
    one, same, other = rings
    assert one.points is same.points
    assert list(other.points) != list(one.points)
    before = list(one.points)
    same.members_changed(backends[1:], 0.0)
    same.place(0, 0.0)
    assert list(same.points) != before
    assert list(one.points) == before
    assert [one.owners(place)[0].id for place in range(0, len(before), 97)] == [
        owner_of(backends, point) for point in before[::97]
    ]


def owner_of(backends: list[Backend], point: int) -> str:
    """By their own points alone."""
    return next(
        backend.id
        for backend in backends
        if point in points_of(backend.hash_name, backend.place_weight)
    )


def test_backends_of_one_name_take_turns() -> None:
    balancer, backends = make([1, 1])
    backends[1].hash_name = backends[0].hash_name
    balancer.rebuild(backends, 0.0)
    picked = [balancer.pick(CLIENTS[0], 0.0) for _ in range(6)]
    assert picked == [backends[0], backends[1]] * 3
    backends[0].set_healthy(False, 0.0)
    assert balancer.pick(CLIENTS[0], 0.0) is backends[1]


def test_a_new_weight_moves_keys_at_the_next_pick_and_draining_moves_only_ones_own() -> None:
    balancer, backends = make([1, 1, 1, 1])
    before = [balancer.pick(client, 0.0) for client in CLIENTS]
    backends[0].set_weight(5, 0.0, Origin.FILE)
    after = [balancer.pick(client, 0.0) for client in CLIENTS]
    assert after.count(backends[0]) > before.count(backends[0])
    assert {new for old, new in zip(before, after, strict=True) if old is not new} == {backends[0]}
    backends[0].set_weight(0, 0.0, Origin.FILE)
    drained = [balancer.pick(client, 0.0) for client in CLIENTS]
    assert {old for old, new in zip(after, drained, strict=True) if old is not new} == {backends[0]}


@pytest.mark.parametrize("factor", [1.05, 1.25, 2.0])
def test_no_backend_exceeds_its_bound(factor: float) -> None:
    balancer, backends = make([1, 2, 1, 3, 1], load_factor=factor)
    pool = BackendPool(backends)
    rng = random.Random(2)
    for total, _ in enumerate(range(600), 1):
        # Few clients, so that without a bound they would pile up.
        backend = balancer.pick(rng.choice(CLIENTS[:5]), 0.0)
        assert backend is not None
        pool.lease(backend, balancer, 0.0)
        assert backend.active <= factor * backend.weight / 8 * (total + 1) + 2


def test_while_nobody_can_be_used_the_ring_is_not_walked() -> None:
    """With a bound that would be all its points, 160 per weight, at every connection."""
    balancer, backends = make([1, 1, 1], load_factor=1.25)
    for backend in backends:
        backend.set_healthy(False, 0.0)
    balancer._ring._members = []  # a look at any point fails
    assert balancer.pick(CLIENTS[0], 0.0) is None
    backends[0].set_healthy(True, 0.0)
    assert balancer.pick(CLIENTS[0], 0.0, backends[:1]) is None


def test_a_bounded_key_is_handed_on_along_the_ring_however_far() -> None:
    """Without a bound the 21st miss falls back to round robin, where two would take turns."""
    balancer, backends = make([1] * 200, load_factor=2.0)
    for backend in backends[2:]:
        backend.set_healthy(False, 0.0)
    for client in CLIENTS[:50]:
        assert len({balancer.pick(client, 0.0) for _ in range(4)}) == 1


def test_a_punished_backend_wins_back_its_weight_by_its_own_picks() -> None:
    """As nginx has it; what is won back counts when keys fall back to round robin."""
    balancer, backends = make([4, 4])
    backends[0].penalty.max_fails = 2
    pool = BackendPool(backends)
    pool.lease(backends[0], balancer, 0.0).release(Outcome(failed=True), 0.0)
    standing = balancer._smooth.of[backends[0]]
    won_back = [
        standing.effective / standing.share
        for client in CLIENTS[:40]
        if balancer.pick(client, 0.0) is backends[0]
    ]
    assert won_back[:3] == [0.75, 1.0, 1.0]
