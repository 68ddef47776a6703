"""Backups, and the last resort."""

import random
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.strategies import STRATEGIES
from tests.unit.balancer.test_every_algorithm import World, every_variant

CLIENT = Address("192.0.2.1", 40000)
TOLD = ("pick", "pick", "close", "close", "fail", "progress", "report", "probe", "time")


def make(
    kinds: str, method: str = "round_robin", *, try_all: bool = False
) -> tuple[Tiers, list[Backend]]:
    """`p` is a primary, `b` a backup; ids are their numbers."""
    backends = [
        Backend(str(i), Address("127.0.0.1", i + 1), backup=kind == "b", penalty=Penalty(1, 10.0))
        for i, kind in enumerate(kinds)
    ]
    tiers = Tiers(STRATEGIES[method](), random.Random(0), RosterPolicy(), try_all=try_all)
    tiers.rebuild(backends, 0.0)
    return tiers, backends


def picks(tiers: Tiers, count: int = 4, now: float = 0.0) -> list[str | None]:
    chosen = [tiers.pick(CLIENT, now) for _ in range(count)]
    return [backend and backend.id for backend in chosen]


def test_backups_are_used_when_no_primary_can_be() -> None:
    tiers, backends = make("pbpb")
    assert picks(tiers) == ["0", "2", "0", "2"]
    backends[0].set_healthy(False, 0.0)
    assert picks(tiers) == ["2"] * 4
    backends[2].set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    assert picks(tiers) == ["1", "3", "1", "3"]
    backends[0].set_healthy(True, 0.0)
    assert picks(tiers) == ["0"] * 4


def test_a_connection_that_tried_all_primaries_goes_to_a_backup() -> None:
    tiers, backends = make("pb")
    assert tiers.pick(CLIENT, 0.0, [backends[0]]) is backends[1]
    assert tiers.pick(CLIENT, 0.0, backends) is None


def test_an_only_primary_is_penalised_if_there_is_a_backup_and_else_not() -> None:
    """nginx: a group of one ignores max_fails, but with backups it is not one."""
    for kinds, during in (("pb", "1"), ("p", "0")):
        tiers, backends = make(kinds)
        backends[0].failed(0.0)
        assert picks(tiers, 2, now=1.0) == [during] * 2
        assert picks(tiers, 1, now=11.0) == ["0"]


def test_a_rebuild_without_the_backup_makes_the_primary_an_only_one_again() -> None:
    tiers, backends = make("pb")
    backends[0].failed(0.0)
    tiers.rebuild(backends[:1], 1.0)
    assert picks(tiers, 1, now=1.0) == ["0"]


@pytest.mark.parametrize("try_all", [False, True])
def test_all_down(try_all: bool) -> None:
    tiers, backends = make("ppb", try_all=try_all)
    for backend in backends:
        backend.set_healthy(False, 0.0)
    assert set(picks(tiers, 9)) == ({"0", "1", "2"} if try_all else {None})
    backends[1].set_admin(Admin.DOWN, 0.0, Origin.FILE)
    assert set(picks(tiers, 9)) == ({"0", "2"} if try_all else {None})
    backends[2].set_healthy(True, 0.0)
    assert set(picks(tiers, 9)) == {"2"}


def test_the_last_resort_is_balanced_by_the_same_algorithm() -> None:
    tiers, backends = make("ppp", "least_conn", try_all=True)
    pool = BackendPool(backends)
    for backend in backends:
        backend.set_healthy(False, 0.0)
    for _ in range(6):
        backend = tiers.pick(CLIENT, 0.0)
        assert backend is not None
        pool.lease(backend, tiers, 0.0)
    assert [backend.active for backend in backends] == [2, 2, 2]


@every_variant
def test_a_tier_alone_is_told_all_that_its_algorithm_would_be(
    method: str, options: dict[str, Any]
) -> None:
    """Long enough, with backends that stay, for all that is told to make a difference."""
    plain, tiered = (World(method, options, [1, 2, 3, 2], seed=4) for _ in range(2))
    chosen = STRATEGIES[method](type=method, **options)
    tiered.balancer.rebuild([], 0.0)
    tiered.balancer = Tiers(chosen, random.Random(4), RosterPolicy(), try_all=False)
    tiered.balancer.rebuild(tiered.backends, 0.0)
    rng = random.Random(5)
    for _ in range(1500):
        event, number = rng.choice(TOLD), rng.randrange(100)
        for world in (plain, tiered):
            world.happen(event, number)
    assert plain.picks == tiered.picks
    for wish in ("wants_progress", "wants_probes"):
        assert getattr(plain.balancer, wish) is getattr(tiered.balancer, wish)


def test_who_is_in_two_tiers_is_probed_once() -> None:
    tiers, backends = make("pb", "prequal", try_all=True)
    due = tiers.probes_due(0.0)
    assert len(due) == 2
    assert set(due) == set(backends)


def test_the_reason_names_the_tier_that_chose() -> None:
    tiers, backends = make("pb", try_all=True)
    assert "backup" not in tiers.reason(CLIENT, backends[0], 0.0)
    assert tiers.reason(CLIENT, backends[1], 0.0).startswith("no primary can be used, so a backup")
    assert tiers.scores(CLIENT, 0.0).keys() == {backends[0]}
    for backend in backends:
        backend.set_healthy(False, 0.0)
    assert "try_all" in tiers.reason(CLIENT, backends[0], 0.0)


def test_failures_of_a_backup_count_in_its_tier() -> None:
    tiers, backends = make("pbb")
    pool = BackendPool(backends)
    backends[0].set_healthy(False, 0.0)
    pool.lease(backends[1], tiers, 0.0).release(Outcome(failed=True), 0.0)
    assert picks(tiers, 2) == ["2", "2"]
