"""Maglev's table: as in the paper, by weight as Envoy, and how much of it moves."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Origin
from nginy.balancer.maglev import Maglev, MaglevTable, fill_table, rounds
from nginy.balancer.renewal import finished
from nginy.config.strategies import MaglevSettings

EXAMPLES = Path(__file__).parents[2] / "data" / "vectors" / "derived_examples.json"
PRIMES = st.sampled_from([2, 3, 5, 7, 11, 31, 61])


def test_the_example_of_the_paper() -> None:
    example: dict[str, Any] = json.loads(EXAMPLES.read_text())
    given_, expected = example["input"]["maglev_M7"], example["expected"]["maglev_M7"]
    offsets, skips, size = given_["offset"], given_["skip"], example["config"]["maglev_M7"]["M"]
    equal = [1] * len(offsets)
    assert list(finished(fill_table(size, offsets, skips, equal))) == expected["table"]
    others = [0, 2]
    left = ([offsets[i] for i in others], [skips[i] for i in others])
    without = finished(fill_table(size, *left, equal[:2]))
    assert [others[owner] for owner in without] == expected["table_without_1"]


def envoy_turns(weights: Sequence[int], count: int) -> list[int]:
    """Round by round, every backend asked in every round."""
    order: list[int] = []
    target = [0] * len(weights)
    turn = 0
    while len(order) < count:
        turn += 1
        for owner, weight in enumerate(weights):
            if turn * weight >= target[owner]:
                target[owner] += max(weights)
                order.append(owner)
    return order[:count]


@given(weights=st.lists(st.integers(1, 40), min_size=1, max_size=8), count=st.integers(1, 300))
def test_turns_are_those_of_envoys_rounds(weights: list[int], count: int) -> None:
    assert list(rounds(weights, count)) == envoy_turns(weights, count)


@given(size=PRIMES, data=st.data())
def test_every_slot_goes_to_the_first_in_turn_that_wants_it(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    same = {"min_size": count, "max_size": count}
    offsets = data.draw(st.lists(st.integers(0, size - 1), **same))
    skips = data.draw(st.lists(st.integers(1, max(1, size - 1)), **same))
    weights = data.draw(st.lists(st.integers(1, 9), **same))
    expected: dict[int, int] = {}
    for owner in envoy_turns(weights, size):
        wanted = ((offsets[owner] + j * skips[owner]) % size for j in range(size))
        expected[next(slot for slot in wanted if slot not in expected)] = owner
    table = finished(fill_table(size, offsets, skips, weights))
    assert list(table) == [expected[slot] for slot in range(size)]


def table_of(backends: list[Backend]) -> list[Backend]:
    table = finished(MaglevTable.slices(backends, 65537))
    return [table.ranked[owner] for owner in table.slots]


def pool(weights: Sequence[int]) -> list[Backend]:
    return [
        Backend(f"b{i}", Address(f"10.0.{i // 250}.{i % 250 + 1}", 8080), weight=weight)
        for i, weight in enumerate(weights)
    ]


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_equal_backends_own_the_same_number_of_slots_but_one(n: int) -> None:
    counts = Counter(table_of(pool([1] * n)))
    assert len(counts) == n
    assert set(counts.values()) <= {floor(65537 / n), ceil(65537 / n)}


def test_weighted_backends_own_slots_in_proportion() -> None:
    """The counts that follow from Envoy's rule."""
    counts = Counter(rounds([1, 2, 3, 1, 4], 65537))
    assert [counts[owner] for owner in range(5)] == [5958, 11916, 17874, 5958, 23831]


# Of the table, when one of n leaves: 1/n and what other owners exchange (measured: 0.24 %, 0.58 %).
@pytest.mark.parametrize(("n", "exchanged"), [(10, 0.0024), (100, 0.0058)])
def test_taking_one_out_moves_its_slots_and_few_others(n: int, exchanged: float) -> None:
    backends = pool([1] * n)
    before, after = table_of(backends), table_of(backends[:3] + backends[4:])
    changed = [old for old, new in zip(before, after, strict=True) if old is not new]
    others = sum(old is not backends[3] for old in changed)
    assert len(changed) - others == before.count(backends[3])
    assert 0 < others / 65537 < 2 * exchanged


def test_heirs_of_a_backend_that_is_down_are_chosen_by_weight() -> None:
    backends = pool([1, 1, 3])
    maglev = Maglev(MaglevSettings(), random.Random(0))
    maglev.rebuild(backends, 0.0)
    clients = [Address(f"10.{i % 200}.{i // 200}.7", 1) for i in range(8000)]
    mine = [client for client in clients if maglev.pick(client, 0.0) is backends[0]]
    backends[0].set_healthy(False, 0.0)
    to_heavy = sum(maglev.pick(client, 0.0) is backends[2] for client in mine) / len(mine)
    assert abs(to_heavy - 0.75) < 4 * (0.75 * 0.25 / len(mine)) ** 0.5


def test_one_usable_among_many_is_found() -> None:
    """Beyond the 64 slots that are looked at."""
    backends = pool([1] * 1000)
    maglev = Maglev(MaglevSettings(), random.Random(0))
    maglev.rebuild(backends, 0.0)
    for backend in backends[:-1]:
        backend.set_healthy(False, 0.0)
    picked = {maglev.pick(Address("192.0.2.1", port), 0.0) for port in range(50)}
    assert picked == {backends[-1]}


def test_the_table_is_made_anew_for_another_weight_and_for_nothing_less() -> None:
    backends = pool([1, 2, 3])
    maglev = Maglev(MaglevSettings(table_size=251), random.Random(0))
    maglev.rebuild(backends, 0.0)
    client = Address("192.0.2.1", 1)
    maglev.pick(client, 0.0)
    table = maglev._table
    backends[0].slow_start.duration_s = 10.0
    backends[0].warm_up(0.0)
    backends[1].set_weight(0, 0.0, Origin.FILE)
    backends[2].set_healthy(False, 0.0)
    maglev.pick(client, 0.0)
    assert maglev._table is table
    backends[0].set_weight(5, 0.0, Origin.FILE)
    maglev.pick(client, 0.0)
    assert maglev._table.slots.count(0) > 1.5 * table.slots.count(0)
