"""The small structures beneath the algorithms, against what is obvious and slow."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.draws import DrawList
from nginy.balancer.ranking import Ranking, Turns
from nginy.balancer.roster import Untried

BACKENDS = [Backend(str(i), Address("192.0.2.1", i + 1)) for i in range(8)]
backends = st.sampled_from(BACKENDS)
sets = st.sets(backends, max_size=8)


def eligible_of(members: Iterable[Backend], avoid: Collection[Backend] = ()) -> Set[Backend]:
    return Untried(set(members), avoid)


everybody = eligible_of(BACKENDS)


@given(members=sets, avoid=sets)
def test_eligible_are_members_that_were_not_tried(
    members: set[Backend], avoid: set[Backend]
) -> None:
    eligible = eligible_of(members, avoid)
    assert {backend for backend in BACKENDS if backend in eligible} == members - avoid
    assert len(eligible) == len(members - avoid)
    assert set(eligible) == members - avoid


@given(changes=st.lists(backends, max_size=40), avoid=sets, seed=st.integers(0, 2**32))
def test_draws_are_members_that_are_not_avoided_and_two_differ(
    changes: list[Backend], avoid: set[Backend], seed: int
) -> None:
    rng = random.Random(seed)
    draws, members = DrawList(), set[Backend]()
    for backend in changes:
        if backend in members:
            draws.left(backend, 0.0)
        else:
            draws.joined(backend, 0.0)
        members ^= {backend}
    free = members - avoid
    assert len(draws) == len(members)
    if free:  # else nobody is drawn
        eligible = eligible_of(members, avoid)
        first, second = draws.draw_two(rng, eligible)
        assert draws.draw(rng, eligible) in free
        assert first in free
        assert second in free - {first} if len(free) > 1 else second is None
    assert len(set(draws.sample(rng, 3))) == min(3, len(members))


def test_draws_are_uniform() -> None:
    rng, draws = random.Random(1), DrawList()
    for backend in BACKENDS[:5]:
        draws.joined(backend, 0.0)
    draws.left(BACKENDS[0], 0.0)
    eligible = eligible_of(BACKENDS[1:5])
    singles = Counter(draws.draw(rng, eligible) for _ in range(8000))
    pairs = Counter(draws.draw_two(rng, eligible) for _ in range(12000))
    # 5 standard deviations of the binomial: 0.006 % of runs would fail, this seed does not.
    assert all(abs(count - 2000) < 5 * 39 for count in singles.values())
    assert len(pairs) == 12
    assert all(abs(count - 1000) < 5 * 31 for count in pairs.values())


@given(
    steps=st.lists(
        st.tuples(backends, st.none() | st.tuples(st.integers(0, 5), st.integers(0, 2))),
        max_size=120,
    ),
    avoid=sets,
)
def test_ranking_gives_the_least_key_and_of_equal_ones_the_oldest(
    steps: list[tuple[Backend, tuple[int, int] | None]], avoid: set[Backend]
) -> None:
    ranking = Ranking()
    keys: dict[Backend, tuple[int, int, int]] = {}
    for number, (backend, key) in enumerate(steps):
        if key is None:
            ranking.discard(backend)
            keys.pop(backend, None)
        else:
            ranking.set(backend, *key)
            keys[backend] = (*key, number)
        free = [one for one in keys if one not in avoid]
        assert ranking.first(eligible_of(BACKENDS, avoid)) is min(
            free, key=keys.__getitem__, default=None
        )
        assert len(ranking) == len(keys)
    ranking.set_all((backend, *key[:2]) for backend, key in sorted_by_number(keys))
    assert ranking.first(everybody) is min(keys, key=keys.__getitem__, default=None)


def sorted_by_number(
    keys: dict[Backend, tuple[int, int, int]],
) -> list[tuple[Backend, tuple[int, int, int]]]:
    return sorted(keys.items(), key=lambda item: item[1][2])


def turns_of(weights: list[float], count: int) -> list[int]:
    turns = Turns()
    for backend, weight in zip(BACKENDS, weights, strict=False):
        turns.weigh(backend, weight)
    picked = []
    for _ in range(count):
        backend = min(BACKENDS[: len(weights)], key=turns.of)
        turns.take(backend)
        picked.append(BACKENDS.index(backend))
    return picked


def test_turns_are_in_the_sainte_lague_order() -> None:
    # Divisors 1, 3, 5, ...: 5/1 5/3 5/5 5/7 5/9 against 1/1 and 1/1; ties go to the earlier.
    assert turns_of([5, 1, 1], 7) == [0, 0, 0, 1, 2, 0, 0]


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=8), periods=st.integers(1, 3))
def test_each_has_its_weight_in_turns_per_period(weights: list[int], periods: int) -> None:
    counts = Counter(turns_of([float(weight) for weight in weights], periods * sum(weights)))
    assert [counts[i] for i in range(len(weights))] == [periods * weight for weight in weights]


def test_who_waited_without_being_asked_does_not_catch_up() -> None:
    turns = Turns()
    first, second = BACKENDS[:2]
    for backend in (first, second):
        turns.weigh(backend, 1.0)
    for _ in range(100):
        turns.take(first)
    picked = []
    for _ in range(4):
        backend = min((first, second), key=turns.of)
        turns.take(backend)
        picked.append(backend)
    assert picked.count(first) == 2


def test_another_weight_scales_the_wait() -> None:
    turns = Turns()
    first, second = BACKENDS[:2]
    turns.weigh(first, 0.001)
    turns.weigh(second, 1.0)
    turns.take(first)
    turns.weigh(first, 1.0)
    turns.take(second)
    assert abs(turns.of(first) - turns.of(second)) <= 1.0


def test_two_that_are_drawn_always_differ() -> None:
    rng, draws = random.Random(2), DrawList()
    for backend in BACKENDS[:3]:
        draws.joined(backend, 0.0)
    pairs = {draws.draw_two(rng, eligible_of(BACKENDS[:3])) for _ in range(500)}
    assert pairs == {(one, two) for one in BACKENDS[:3] for two in BACKENDS[:3] if one is not two}


def test_outdated_entries_do_not_pile_up() -> None:
    ranking = Ranking()
    ranking.set(BACKENDS[0], -1.0, 0.0)
    for number in range(5000):  # none of them ever leads, so none is replaced at the top
        ranking.set(BACKENDS[1 + number % 7], float(number), 0.0)
    assert len(ranking._heap) < 100
    assert ranking.first(everybody) is BACKENDS[0]


def test_turns_of_strangers_are_forgotten() -> None:
    turns = Turns()
    for backend in BACKENDS[:2]:
        turns.weigh(backend, 1.0)
    turns.members_changed(BACKENDS[1:], 0.0)
    with pytest.raises(KeyError):
        turns.of(BACKENDS[0])
    assert turns.of(BACKENDS[1]) == 0.5
