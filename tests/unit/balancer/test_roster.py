"""Who is usable, kept by events, is who would be found usable by asking everybody."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.backend.penalty import Penalty
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.roster import FOREVER, Follower, Roster, RosterPolicy


class Recorder(Follower):
    """Keeps its own set by the events alone, and checks that they alternate."""

    def __init__(self) -> None:
        self.inside: list[Backend] = []
        self.reweighings = 0

    def joined(self, backend: Backend, now: float) -> None:
        assert backend not in self.inside
        self.inside.append(backend)

    def left(self, backend: Backend, now: float) -> None:
        self.inside.remove(backend)

    def reweighed(self, backend: Backend, now: float) -> None:
        self.reweighings += 1


def make(count: int, policy: RosterPolicy = RosterPolicy(), **settings: int) -> Roster:  # noqa: B008
    backends = [
        Backend(
            str(i),
            Address("127.0.0.1", i + 1),
            weight=i + 1,
            max_connections=settings.get("max_connections", 0),
            penalty=Penalty(settings.get("max_fails", 1), 10.0, 25.0),
        )
        for i in range(count)
    ]
    roster = Roster(policy)
    roster.followed_by(Recorder())
    roster.rebuild(backends, 0.0)
    return roster


def follower(roster: Roster) -> Recorder:
    (recorder,) = roster._followers
    assert isinstance(recorder, Recorder)
    return recorder


def asked(roster: Roster, now: float) -> set[Backend]:
    """The rule, without events and without a cap on ejections."""
    alone = len(roster.members) == 1
    usable = set()
    for backend in roster.members:
        obstacle = backend.obstacle(now, heed_health=roster.policy.heed_health)
        if obstacle is Obstacle.PENALISED and alone:
            obstacle = backend.obstacle(now, heed_health=False)
        if obstacle is None:
            usable.add(backend)
    return usable


EVENTS = ("open", "close", "fail", "up", "down", "drain", "off", "ready", "weigh", "limit", "time")
events = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 5), st.integers(0, 4)), max_size=80
)


class World:
    """A roster, and events that happen to its members."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.now = 0.0

    def happen(self, event: str, which: int, amount: int) -> None:
        backend = self.roster.members[which % len(self.roster.members)]
        now = self.now
        if event == "open":
            backend.opened(now)
        elif event == "close" and backend.active:
            backend.released(now)
        elif event == "fail":
            backend.opened(now)
            backend.failed(now)
            backend.released(now)
        elif event in ("up", "down"):
            backend.set_healthy(event == "up", now)
            if event == "up":
                backend.succeeded(now)
        elif event in ("drain", "off", "ready"):
            states = {"drain": Admin.DRAIN, "off": Admin.DOWN, "ready": Admin.READY}
            backend.set_admin(states[event], now, Origin.FILE)
        elif event == "weigh":
            backend.set_weight(amount, now, Origin.FILE)
        elif event == "limit":
            backend.set_max_connections(amount, now, Origin.FILE)
        else:
            self.now += 4.0 * amount + 0.5
        if self.now > self.roster.next_return:
            self.roster.refresh(self.now)


@given(
    count=st.integers(1, 5), steps=events, max_fails=st.integers(0, 2), heed_health=st.booleans()
)
def test_usable_are_those_who_are_found_so_by_asking_all(
    count: int, steps: list[tuple[str, int, int]], max_fails: int, heed_health: bool
) -> None:
    roster = make(count, RosterPolicy(heed_health=heed_health), max_fails=max_fails)
    world = World(roster)
    for step in steps:
        world.happen(*step)
        assert roster.usable == asked(roster, world.now) == set(follower(roster).inside)


@given(count=st.integers(2, 6), steps=events, cap=st.sampled_from([0.0, 10.0, 34.0, 50.0, 99.0]))
def test_no_more_penalties_are_heeded_than_the_cap_allows(
    count: int, steps: list[tuple[str, int, int]], cap: float
) -> None:
    roster = make(count, RosterPolicy(max_ejected_pct=cap))
    world = World(roster)
    for step in steps:
        world.happen(*step)
        away = [b for b in roster.members if b not in roster.usable]
        reasons = [backend.obstacle(world.now) for backend in away]
        penalised = [
            backend
            for backend, reason in zip(away, reasons, strict=True)
            if reason is Obstacle.PENALISED and not backend.full
        ]
        assert None not in reasons
        assert len(penalised) <= count * cap / 100
        assert all(b.obstacle(world.now) in (None, Obstacle.PENALISED) for b in roster.usable)


@given(steps=events, order=st.permutations(range(4)), kept=st.integers(0, 4))
def test_a_rebuild_at_any_time_leaves_the_right_ones(
    steps: list[tuple[str, int, int]], order: list[int], kept: int
) -> None:
    roster = make(4)
    world = World(roster)
    backends = list(roster.members)
    for step in steps:
        world.happen(*step)
    roster.rebuild([backends[i] for i in order[:kept]], world.now)
    assert roster.usable == asked(roster, world.now) == set(follower(roster).inside)
    assert [roster.position[backends[i]] for i in order[:kept]] == list(range(kept))
    gone = [backends[i] for i in order[kept:]]
    for backend in gone:
        assert backend.watchers == []
        backend.set_healthy(not backend.healthy, world.now)
    assert roster.usable.isdisjoint(gone)


def test_those_who_return_join_in_the_order_of_the_end_of_their_penalties() -> None:
    roster = make(3)
    first, second, third = roster.members
    second.failed(1.0)
    first.failed(2.0)
    assert follower(roster).inside == [third]
    assert roster.next_return == 11.0
    roster.refresh(11.5)
    assert follower(roster).inside == [third, second]
    roster.refresh(12.5)
    assert follower(roster).inside == [third, second, first]
    assert roster.next_return == FOREVER


def test_an_only_member_is_tried_in_spite_of_its_penalty_unless_there_are_backups() -> None:
    for try_alone in (True, False):
        roster = make(1, RosterPolicy(try_alone=try_alone))
        roster.members[0].failed(1.0)
        assert bool(roster.usable) is try_alone


def test_the_last_resort_takes_the_sick_but_neither_drained_nor_full_nor_removed() -> None:
    roster = make(5, RosterPolicy(heed_health=False), max_connections=1)
    sick, drained, full, removed, weightless = roster.members
    for backend in roster.members:
        backend.set_healthy(False, 0.0)
        backend.failed(0.0)
    drained.set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    full.opened(0.0)
    removed.remove(0.0)
    weightless.set_weight(0, 0.0, Origin.FILE)
    assert roster.usable == {sick}


@pytest.mark.parametrize("seed", range(3))
def test_what_is_due_does_not_pile_up(seed: int) -> None:
    """A member that is looked at often during one penalty is on the heap once."""
    rng = random.Random(seed)
    roster = make(2, max_connections=3)
    backend = roster.members[0]
    backend.failed(1.0)
    for _ in range(200):
        if backend.active < 3 and rng.random() < 0.5:
            backend.active += 1
        backend.set_max_connections(rng.randrange(5), 2.0, Origin.FILE)
    assert len(roster._returns) == 1
