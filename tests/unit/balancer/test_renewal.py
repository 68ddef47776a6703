"""A new weight among many backends: another table is made in steps, and no pick waits for it."""

import gc
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.renewal import STEP, sorted_pieces
from nginy.balancer.source import map_slices
from nginy.config.strategies import STRATEGIES

CLIENTS = [Address(f"10.{i % 211}.{i // 211}.{i % 13}", 40000) for i in range(1000)]
OPTIONS = {"source": {"method": "consistent"}}
every = pytest.mark.parametrize("method", ["ketama", "maglev", "ring_hash", "source"])


@pytest.fixture(autouse=True)
def _nothing_is_shared() -> None:
    """Rings of the same names and weights share their points while one is in use."""
    gc.collect()


class Rig:
    """A balancer over twenty backends, and the work that it has put off."""

    def __init__(self, method: str, weights: dict[int, int] | None = None) -> None:
        self.backends = [
            Backend(f"b{i}", Address("127.0.0.1", 21000 + i), weight=(weights or {}).get(i, 1))
            for i in range(20)
        ]
        self.newcomers = [Backend(f"n{i}", Address("127.0.0.1", 22000 + i)) for i in range(2)]
        self.works: list[Iterator[None]] = []
        self.balancer: Balancer[Any] = make_balancer(
            STRATEGIES[method](type=method, **OPTIONS.get(method, {})), random.Random(0)
        )
        self.balancer.work_later(self.works.append)
        self.balancer.rebuild(self.backends, 0.0)
        self.picks()

    def picks(self) -> list[str]:
        chosen = [self.balancer.pick(client, 0.0) for client in CLIENTS]
        return [backend.id for backend in chosen if backend is not None]

    def of(self, backends: list[Backend]) -> list[str]:
        """What a balancer of these chooses that knew no others."""
        self.balancer.rebuild((), 0.0)
        fresh = make_balancer(self.balancer.settings, random.Random(0))
        fresh.rebuild(backends, 0.0)
        self.balancer = fresh
        return self.picks()

    def reweigh(self, number: int, weight: int) -> None:
        self.backends[number].set_weight(weight, 0.0, Origin.FILE)


@every
def test_picks_use_the_old_table_until_the_new_one_is_ready(method: str) -> None:
    rig = Rig(method)
    before = rig.picks()
    rig.reweigh(3, 9)
    assert rig.picks() == before
    (work,) = rig.works
    next(work)
    assert rig.picks() == before
    assert list(work)
    assert rig.picks() == Rig(method, {3: 9}).picks() != before
    assert len(rig.works) == 1


@every
def test_who_is_down_is_not_chosen_by_the_old_table(method: str) -> None:
    rig = Rig(method)
    rig.reweigh(3, 9)
    rig.backends[5].set_healthy(False, 0.0)
    assert "b5" not in rig.picks()
    next(rig.works[0])
    assert "b5" not in rig.picks()


@every
def test_a_weight_that_changes_meanwhile_is_seen_to_afterwards(method: str) -> None:
    rig = Rig(method)
    rig.reweigh(3, 9)
    rig.picks()
    next(rig.works[0])
    rig.reweigh(4, 9)
    rig.picks()
    assert len(rig.works) == 1
    list(rig.works[0])
    assert rig.picks() == Rig(method, {3: 9}).picks()
    list(rig.works[1])
    assert rig.picks() == Rig(method, {3: 9, 4: 9}).picks()


@every
def test_other_members_are_chosen_from_once_their_table_is_ready(method: str) -> None:
    rig = Rig(method)
    before = rig.picks()
    rig.balancer.rebuild([*rig.backends[5:], *rig.newcomers], 0.0)
    during = rig.picks()
    assert not {"b0", "b1", "b2", "b3", "b4", "n0", "n1"} & set(during)
    gone = {"b0", "b1", "b2", "b3", "b4"}
    assert all(old in gone or old == new for old, new in zip(before, during, strict=True))
    assert list(rig.works[0])
    assert rig.picks() == Rig(method).of([*rig.backends[5:], *rig.newcomers])
    assert {"n0", "n1"} <= set(rig.picks())


@every
def test_members_that_change_again_meanwhile_are_seen_to_afterwards(method: str) -> None:
    rig = Rig(method)
    rig.balancer.rebuild(rig.backends[5:], 0.0)
    rig.picks()
    next(rig.works[0])
    rig.balancer.rebuild(rig.backends[10:], 0.0)
    for backend in rig.picks():
        assert int(backend[1:]) >= 10
    list(rig.works[0])
    rig.picks()
    list(rig.works[1])
    assert rig.picks() == Rig(method).of(rig.backends[10:])


@every
def test_nobody_waits_for_a_table_if_the_old_one_knows_nobody_of_who_is_left(method: str) -> None:
    rig = Rig(method)
    rig.balancer.rebuild(rig.newcomers, 0.0)
    assert rig.picks() == Rig(method).of(rig.newcomers)


@every
def test_nobody_is_left_out_if_all_that_the_old_table_knows_are_down(method: str) -> None:
    rig = Rig(method)
    rig.balancer.rebuild([rig.backends[0], *rig.newcomers], 0.0)
    rig.picks()
    rig.backends[0].set_healthy(False, 0.0)
    assert set(rig.picks()) == {"n0", "n1"}


@every
def test_who_was_tried_before_is_not_all_that_the_old_table_knows(method: str) -> None:
    rig = Rig(method)
    rig.balancer.rebuild([rig.backends[0], *rig.newcomers], 0.0)
    chosen = rig.balancer.pick(CLIENTS[0], 0.0, [rig.backends[0]])
    assert chosen in rig.newcomers


def test_a_step_is_of_a_bounded_number_of_points() -> None:
    rig = Rig("ketama")
    rig.reweigh(3, 1000)
    rig.picks()
    points = (20 - 1 + 1000) * 160
    assert len(list(rig.works[0])) > 2 * points / STEP  # made, and then sorted


@given(numbers=st.lists(st.integers(0, 2**40 - 1)))
def test_pieces_in_order_are_all_numbers_sorted(numbers: list[int]) -> None:
    assert [number for piece in sorted_pieces(numbers, 40) for number in piece] == sorted(numbers)


def test_a_map_is_made_at_once_only_if_nobody_in_the_old_one_is_up() -> None:
    balancer = make_balancer(STRATEGIES["source"](type="source", method="map"), random.Random(0))
    works: list[Iterator[None]] = []
    balancer.work_later(works.append)
    one, other = (Backend(f"b{i}", Address("127.0.0.1", 1 + i)) for i in range(2))
    other.set_healthy(False, 0.0)
    balancer.rebuild([one, other], 0.0)
    assert balancer.pick(CLIENTS[0], 0.0) is one
    other.set_healthy(True, 0.0)
    one.set_healthy(False, 0.0)
    assert balancer.pick(CLIENTS[0], 0.0) is other
    one.set_healthy(True, 0.0)
    assert balancer.pick(CLIENTS[0], 0.0) is other
    assert [len(list(work)) > 0 for work in works] == [False, True]
    assert balancer.pick(CLIENTS[0], 0.0) is one


def test_a_large_map_is_made_in_steps() -> None:
    assert len(list(map_slices([7] * 2_000))) == 14_000 // STEP
