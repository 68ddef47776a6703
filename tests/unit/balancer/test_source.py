"""HAProxy's source beyond the recorded answers: the map when servers change, odd addresses."""

import random
from array import array
from collections import Counter

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from nginy.balancer import source as source_module
from nginy.balancer.renewal import Slices
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.source import (
    MAPS_KEPT,
    Source,
    haproxy_weights,
    map_slices,
    server_numbers,
    source_number,
)
from nginy.config.strategies import SourceSettings

KEYS = [Address(f"10.{i % 211}.{i // 211}.{i % 13}", 40000) for i in range(2200)]


def make(weights: list[int], **settings: object) -> tuple[Source, list[Backend]]:
    backends = [Backend(f"b{i}", Address("127.0.0.1", 1 + i), w) for i, w in enumerate(weights)]
    source = Source(SourceSettings(**settings), random.Random(0))
    source.rebuild(backends, 0.0)
    return source, backends


def ids(source: Source) -> list[str | None]:
    picked = [source.pick(client, 0.0) for client in KEYS]
    return [backend.id if backend else None for backend in picked]


def without(weights: list[int], index: int) -> list[str | None]:
    """What the others answer alone."""
    source, backends = make(weights)
    source.rebuild(backends[:index] + backends[index + 1 :], 0.0)
    return ids(source)


def test_the_map_is_that_of_those_who_are_up() -> None:
    source, backends = make([1, 2, 3])
    home = ids(source)
    backends[1].set_healthy(False, 0.0)
    assert ids(source) == without([1, 2, 3], 1)
    backends[1].set_healthy(True, 0.0)
    assert ids(source) == home


def test_a_backend_that_flaps_makes_no_map_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[int]] = []

    def count(weights: list[int]) -> "Slices[array[int]]":
        made.append(list(weights))
        return (yield from map_slices(weights))

    monkeypatch.setattr(source_module, "map_slices", count)
    source, backends = make([1, 2, 3])
    home, others = ids(source), without([1, 2, 3], 1)
    made.clear()
    for _ in range(5):
        backends[1].set_healthy(False, 0.0)
        assert ids(source) == others
        backends[1].set_healthy(True, 0.0)
        assert ids(source) == home
    assert made == [[1, 3]]
    backends[1].set_weight(5, 0.0, Origin.FILE)
    assert ids(source) != home
    assert len(made) == 2


def test_only_so_many_maps_are_kept_and_none_of_former_members() -> None:
    source, backends = make([1] * 10)
    for backend in backends:
        backend.set_healthy(False, 0.0)
        ids(source)
        backend.set_healthy(True, 0.0)
    assert len(source._maps) == MAPS_KEPT
    source.rebuild(backends[1:], 0.0)
    assert not source._maps


def test_who_is_away_still_counts_for_the_length_of_the_map() -> None:
    """HAProxy divides by the greatest common divisor of all weights once, at start."""
    source, backends = make([2, 4, 3])
    ids(source)
    backends[2].set_healthy(False, 0.0)
    source.pick(KEYS[0], 0.0)
    assert len(source._table.places) == 6  # type: ignore[union-attr]


def test_a_full_backend_keeps_its_place_and_its_clients_go_to_the_next() -> None:
    source, backends = make([1, 1, 1, 1])
    home = ids(source)
    backends[2].set_max_connections(1, 0.0, Origin.FILE)
    backends[2].opened(0.0)
    heirs = {(old, new) for old, new in zip(home, ids(source), strict=True) if old != new}
    assert heirs == {("b2", "b3")}
    backends[2].released(0.0)
    assert ids(source) == home


def test_a_full_backend_that_goes_down_leaves_the_map() -> None:
    source, backends = make([1, 1, 1, 1])
    ids(source)
    backends[2].set_max_connections(1, 0.0, Origin.FILE)
    backends[2].opened(0.0)
    backends[2].set_healthy(False, 0.0)
    assert ids(source) == without([1, 1, 1, 1], 2)


def test_a_full_backend_that_comes_up_has_its_place_at_once() -> None:
    source, backends = make([1, 1, 1, 1])
    home = ids(source)
    backends[2].set_max_connections(1, 0.0, Origin.FILE)
    backends[2].opened(0.0)
    backends[2].set_healthy(False, 0.0)
    ids(source)
    backends[2].set_healthy(True, 0.0)
    heirs = {(old, new) for old, new in zip(home, ids(source), strict=True) if old != new}
    assert heirs == {("b2", "b3")}


def test_a_full_backend_of_the_last_resort_keeps_its_place() -> None:
    """There the sick are up."""
    source, backends = make([1, 1, 1, 1])
    source.roster.policy = RosterPolicy(heed_health=False)
    for backend in backends:
        backend.set_healthy(False, 0.0)
    source.rebuild(backends, 0.0)
    home = ids(source)
    backends[2].set_max_connections(1, 0.0, Origin.FILE)
    backends[2].opened(0.0)
    heirs = {(old, new) for old, new in zip(home, ids(source), strict=True) if old != new}
    assert heirs == {("b2", "b3")}


def test_what_happens_to_a_backend_that_is_away_makes_no_new_map() -> None:
    source, backends = make([1, 1, 1])
    backends[1].set_healthy(False, 0.0)
    source.pick(KEYS[0], 0.0)
    table = source._table
    backends[1].set_max_connections(5, 0.0, Origin.FILE)
    backends[1].set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    source.pick(KEYS[0], 0.0)
    assert source._table is table


def test_the_end_of_a_penalty_brings_the_map_back_though_nothing_tells_of_it() -> None:
    source, backends = make([1, 1, 1])
    home = ids(source)
    backends[1].penalty.max_fails = 1
    backends[1].failed(0.0)
    assert ids(source) == without([1, 1, 1], 1)
    later = [source.pick(client, 20.0) for client in KEYS]
    assert [backend and backend.id for backend in later] == home


def test_shares_of_the_map_are_exact() -> None:
    source, _ = make([1, 2, 3, 1, 4])
    answers = [source.pick(Address(f"10.0.{i // 100}.{i % 100}", 1), 0.0) for i in range(100)]
    whole = Counter(backend.id for backend in answers[:99] if backend)  # 9 times around the map
    assert [whole[f"b{i}"] for i in range(5)] == [9, 18, 27, 9, 36]


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("127.0.0.1", 0x7F000001),
        ("::ffff:127.0.0.1", 0x7F000001),
        ("2001:db8::1", 0x20010DB8 ^ 1),
        ("1:2:3:4:5:6:7:8", 0x10002 ^ 0x30004 ^ 0x50006 ^ 0x70008),
        ("fe80::1%eth0", 0xFE800000 ^ 1),
    ],
)
def test_the_number_of_an_address(host: str, number: int) -> None:
    assert source_number(Address(host, 1)) == number


def test_weights_above_haproxys_largest_are_scaled_down_and_nobody_vanishes() -> None:
    _, backends = make([256, 3])
    assert haproxy_weights(backends) == [256, 3]
    _, backends = make([2_000_000_000, 1_000_000_000, 1])
    assert haproxy_weights(backends) == [256, 128, 1]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["30", "10", "20"], [30, 10, 20]),
        (["30", "10", "web"], [1, 2, 3]),
        (["1", "01"], [1, 2]),  # equal
        (["1", str(1 + 2**20)], [1, 2]),  # not equal, but their points are
        (["1", "9" * 5000], [1, 2]),
    ],
)
def test_server_numbers(names: list[str], numbers: list[int]) -> None:
    backends = [Backend(name, Address("127.0.0.1", 1)) for name in names]
    assert server_numbers(backends) == numbers


def test_watchers_go_with_the_members() -> None:
    source, backends = make([1, 1])
    source.rebuild(backends[:1], 0.0)
    assert [len(backend.watchers) for backend in backends] == [2, 0]
    source.rebuild([], 0.0)
    assert backends[0].watchers == []


def test_it_says_where_the_address_falls() -> None:
    source, backends = make([1, 2, 3])
    client = Address("127.0.0.1", 1)  # 0x7f000001 modulo 6 is 5; the map is 0 1 2 2 1 2
    chosen = source.pick(client, 0.0)
    assert chosen is backends[2]
    assert source.reason(client, chosen, 0.0) == (
        "address 127.0.0.1 is the number 0x7f000001 and place 5 of 6 on the map is of b2"
    )
