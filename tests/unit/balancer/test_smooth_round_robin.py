"""Smooth weighted round robin: its invariants, and what a change of membership does to it."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import Outcome
from nginy.backend.wishes import Origin
from nginy.balancer.round_robin import RoundRobin
from nginy.config.strategies import RoundRobinSettings

CLIENT = Address("192.0.2.1", 40000)
weight_lists = st.lists(st.integers(1, 20), min_size=1, max_size=6)


def make(weights: list[int]) -> tuple[RoundRobin, list[Backend]]:
    backends = [Backend(str(i), Address("127.0.0.1", i), w) for i, w in enumerate(weights)]
    balancer = RoundRobin(RoundRobinSettings(), random.Random(0))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


def picks(balancer: RoundRobin, count: int) -> list[int]:
    chosen = [balancer.pick(CLIENT, 0.0) for _ in range(count)]
    return [int(backend.id) for backend in chosen if backend is not None]


@given(weights=weight_lists, skipped=st.integers(0, 200))
def test_any_period_holds_each_backend_exactly_weight_times(
    weights: list[int], skipped: int
) -> None:
    balancer, _ = make(weights)
    picks(balancer, skipped)
    assert Counter(picks(balancer, sum(weights))) == dict(enumerate(weights))


@given(weights=weight_lists, count=st.integers(1, 200))
def test_picks_never_stray_far_from_the_fair_share(weights: list[int], count: int) -> None:
    """At any moment, by less than one pick per backend of the group."""
    balancer, _ = make(weights)
    counted = Counter(picks(balancer, count))
    for index, weight in enumerate(weights):
        assert abs(counted[index] - count * weight / sum(weights)) < len(weights)


@given(weights=weight_lists, before=st.integers(0, 50))
def test_rebuild_with_the_same_members_changes_nothing(weights: list[int], before: int) -> None:
    rebuilt, backends = make(weights)
    untouched, _ = make(weights)
    picks(rebuilt, before)
    picks(untouched, before)
    rebuilt.rebuild(backends, 0.0)
    assert picks(rebuilt, 40) == picks(untouched, 40)


def test_a_new_weight_counts_from_the_next_pick() -> None:
    balancer, backends = make([5, 1, 1])
    picks(balancer, 7)
    backends[0].set_weight(1, 0.0, Origin.FILE)
    backends[2].set_weight(4, 0.0, Origin.FILE)
    assert Counter(picks(balancer, 6)) == {0: 1, 1: 1, 2: 4}


def test_each_failure_costs_a_share_of_the_weight_and_is_won_back_step_by_step() -> None:
    """Weight 6, max_fails 3: 2 of the effective weight are lost per failure (nginx 1.22.1)."""
    balancer, backends = make([6, 1])
    backends[0].penalty = Penalty(max_fails=3)
    for _ in range(3):
        balancer.closed(backends[0], Outcome(failed=True), 0.0)
    # Owed to 0 and 1 at each choice: 0 1, 1 1, 1 2, 4 0, 4 1, 4 2 (effective weight 0 to 5).
    assert picks(balancer, 6) == [1, 0, 1, 0, 0, 0]


@given(weights=weight_lists, before=st.integers(0, 50), away=st.integers(0, 30))
def test_who_was_away_is_owed_what_it_was_owed_before(
    weights: list[int], before: int, away: int
) -> None:
    """nginx leaves out who cannot be used: neither gain nor loss meanwhile."""
    balancer, backends = make([*weights, 3])
    picks(balancer, before)
    owed = balancer._smooth.owed(backends[-1])
    backends[-1].set_healthy(False, 0.0)
    assert len(weights) not in picks(balancer, away)
    backends[-1].set_healthy(True, 0.0)
    assert balancer._smooth.owed(backends[-1]) == owed


@given(weights=weight_lists, before=st.integers(0, 50))
def test_all_debts_cancel_out(weights: list[int], before: int) -> None:
    balancer, backends = make(weights)
    picks(balancer, before)
    assert sum(map(balancer._smooth.owed, backends)) == 0


def test_heaps_do_not_grow_with_comings_and_goings() -> None:
    balancer, backends = make([1] * 50)
    for turn in range(2000):
        backends[turn % 50].set_healthy(False, 0.0)
        backends[turn % 50].set_healthy(True, 0.0)
        picks(balancer, 1)
    entries = sum(len(share.heap) for share in balancer._smooth.group._classes.values())
    assert entries < 3 * 50
