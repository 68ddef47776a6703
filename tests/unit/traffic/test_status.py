"""The snapshot: what it counts, what it says of backends, and that asking changes nothing."""

import random
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.health import CheckResult
from nginy.backend.load import LoadReport
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.registry import ALGORITHMS
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.ledger import Drop
from nginy.traffic.status import (
    NO_TARGET,
    SLICE,
    BackendStatus,
    RuleStatus,
    Status,
    status,
    status_in_slices,
)
from tests.rules import CLIENT, LISTENER, Carrier, World, one_rule, world


def snapshot(world: World) -> Status:
    return status(world.rules, world.ledger, world.now)


def of_rule(world: World) -> RuleStatus:
    (rule,) = snapshot(world).rules
    return rule


def of_backends(world: World) -> dict[str, BackendStatus]:
    return {each.id: each for each in of_rule(world).backends}


def served(world: World) -> Carrier:
    carrier = Carrier(world)
    carrier.choose()
    carrier.reach()
    return carrier


class Counted:
    """Lives of connections, and what a bystander counts of them."""

    def __init__(self) -> None:
        self.world = one_rule(
            {"weight": 3}, {"max_connections": 3}, {},
            limits={"max_connections": 6},
            access=[{"deny": "10.66.0.0/16"}],
            live_connections={"on_down": "keep"},
            retries={"max_tries": 2},
        )  # fmt: skip
        self.carriers: list[Carrier] = []
        self.picked: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.bytes_up: Counter[str] = Counter()
        self.bytes_down: Counter[str] = Counter()
        self.connect_s: defaultdict[str, list[float]] = defaultdict(list)
        self.closed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def arrive(self, denied: bool) -> None:
        try:
            carrier = Carrier(self.world, Address("10.66.0.1" if denied else "10.9.0.1", 1))
        except ConnectionEnd as end:
            self.closed[end.reason.value] += 1
            self.refused[end.reason.value] += 1
            return
        self.carriers.append(carrier)
        self.choose(carrier)

    def choose(self, carrier: Carrier) -> None:
        backend = carrier.choose(waits=False)
        if backend is not None:
            self.picked[backend] += 1
        else:
            assert carrier.reason is not None
            if carrier.reason is CloseReason.NO_BACKEND:
                self.refused[carrier.reason.value] += 1
            self.gone(carrier, carrier.reason)

    def reach(self, carrier: Carrier) -> None:
        assert carrier.backend is not None
        if carrier.attempt.connected_s is None:
            self.connect_s[carrier.backend].append(self.world.now - carrier.attempt.connect_began_s)
            carrier.reach()
            self.reached[carrier.backend] += 1

    def fail(self, carrier: Carrier) -> None:
        assert carrier.backend is not None
        if carrier.attempt.connected_s is None:
            self.failed[carrier.backend] += 1
            carrier.fail()
            self.choose(carrier)

    def carry(self, carrier: Carrier, up: int, down: int) -> None:
        assert carrier.backend is not None
        if carrier.attempt.connected_s is not None:
            self.bytes_up[carrier.backend] += up
            self.bytes_down[carrier.backend] += down
            carrier.carry(up, down)

    def close(self, carrier: Carrier) -> None:
        carrier.close()
        self.gone(carrier, CloseReason.COMPLETED)

    def gone(self, carrier: Carrier, reason: CloseReason) -> None:
        self.carriers.remove(carrier)
        self.closed[reason.value] += 1

    def compare(self) -> None:
        found = of_rule(self.world)
        assert found.open == len(self.carriers)
        assert found.closed == self.closed
        assert found.refused == self.refused
        assert found.counts.picked == self.picked.total()
        assert found.counts.bytes_up == self.bytes_up.total()
        assert found.counts.bytes_down == self.bytes_down.total()
        whole = snapshot(self.world)
        assert whole.open == {"tcp": len(self.carriers), "udp": 0}
        assert whole.closed == {"tcp": self.closed, "udp": {}}
        for each in found.backends:
            counts = each.counts
            assert each.open == sum(one.backend == each.id for one in self.carriers)
            assert counts.picked == self.picked[each.id]
            assert counts.reached == self.reached[each.id]
            assert counts.bytes_up == self.bytes_up[each.id]
            assert counts.bytes_down == self.bytes_down[each.id]
            assert sum(counts.failed.values()) == self.failed[each.id]
            times = self.connect_s[each.id]
            mean_ms = 1e3 * sum(times) / len(times) if times else None
            assert counts.connect_ms == (mean_ms and pytest.approx(mean_ms, abs=1e-3))


numbers = st.integers(0, 99)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.booleans(), numbers, numbers),
        st.tuples(
            st.sampled_from(["reach", "fail", "carry", "close", "health", "time"]),
            numbers, numbers, numbers,
        ),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=200)
@given(steps)
def test_the_counts_are_those_of_a_bystander(steps: list[tuple[str, int, int, int]]) -> None:
    life = Counted()
    for what, which, one, other in steps:
        if what == "arrive":
            life.arrive(bool(which))
        elif what == "health":
            life.world.backend(1 + which % 3).set_healthy(bool(one % 4), life.world.now)
        elif what == "time":
            life.world.advance(one / 100)
        elif life.carriers:
            carrier = life.carriers[which % len(life.carriers)]
            more = (one, other) if what == "carry" else ()
            getattr(life, what)(carrier, *more)
        life.compare()


def test_bytes_are_seen_while_the_connection_lives() -> None:
    world = one_rule({})
    carrier = served(world)
    carrier.carry(10, 2000)
    assert of_backends(world)["b1"].counts.bytes_down == 2000
    assert of_rule(world).counts.bytes_up == 10
    carrier.close()
    assert of_rule(world).counts.bytes_down == 2000


def test_what_backends_that_are_gone_have_carried_stays_counted() -> None:
    world = one_rule({}, {})
    first, second = served(world), served(world)
    first.carry(1, 10)
    second.carry(2, 20)
    world.pool.expand("b1", ())
    gone = first.attempt.leased
    assert gone is not None
    gone.remove(world.now)
    world.rule.rebuild(world.now)
    assert [(each.id, each.state) for each in of_rule(world).backends] == [
        ("b2", "usable"),
        ("b1", "removed"),
    ]
    first.close()
    found = of_rule(world)
    assert [each.id for each in found.backends] == ["b2"]
    assert (found.counts.picked, found.counts.bytes_up, found.counts.bytes_down) == (2, 3, 30)


def test_a_backend_that_is_no_target_any_more_is_shown_while_it_carries_something() -> None:
    world = one_rule({}, {})
    served(world)
    world.rule.update(replace(world.rule.settings, backend_ids=("b2",)), world.now)
    found = of_backends(world)
    assert (found["b1"].state, found["b1"].open, found["b1"].share_pct) == (NO_TARGET, 1, 0)


@given(
    weights=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    backups=st.sets(st.integers(1, 8)),
    away=st.sets(st.integers(1, 8)),
    try_all=st.booleans(),
)
def test_shares_are_by_weight_and_of_those_who_are_asked(
    weights: list[int], backups: set[int], away: set[int], try_all: bool
) -> None:
    world = one_rule(
        *({"weight": weight, "backup": n in backups} for n, weight in enumerate(weights, 1)),
        all_down="try_all" if try_all else "refuse",
    )
    for number in away:
        if number <= len(weights):
            world.backend(number).set_healthy(False, 0.0)
    numbers = range(1, len(weights) + 1)
    heavy = [n for n in numbers if weights[n - 1]]
    tiers = [
        [n for n in heavy if n not in backups and n not in away],
        [n for n in heavy if n in backups and n not in away],
        heavy if try_all else [],
    ]
    asked = next(filter(None, tiers), [])
    total = sum(weights[n - 1] for n in asked)
    found = of_backends(world)
    for n in numbers:
        share = 100 * weights[n - 1] / total if n in asked else 0
        assert found[f"b{n}"].share_pct == pytest.approx(share)
    assert sum(each.share_pct for each in found.values()) == pytest.approx(100 if asked else 0)
    chosen = world.rule.pick(CLIENT, 0.0, ())
    assert (chosen is None) == (not asked)
    assert chosen is None or found[chosen.id].share_pct > 0


def test_a_slow_start_has_the_share_that_it_has_now() -> None:
    world = one_rule({"slow_start": {"duration_s": 10, "floor_pct": 10}}, {})
    backend = world.backend(1)
    backend.set_healthy(False, 0.0)
    backend.set_healthy(True, 1.0)
    world.now = 6.0
    backend.ramp(world.now)
    assert of_backends(world)["b1"].share_pct == pytest.approx(100 * 0.55 / 1.55, abs=0.1)


def test_an_obstacle_is_named_with_its_age_and_who_wants_it() -> None:
    world = one_rule(
        {}, {"down": True}, {"weight": 0}, {"max_connections": 1}, {"max_fails": 1}, {}
    )
    for _ in range(6):
        Carrier(world).choose(waits=False)
    world.backend(5).failed(2.0)
    world.now = 3.0
    world.backend(1).set_admin(Admin.DRAIN, world.now, Origin.AGENT)
    world.backend(3).set_admin(Admin.DRAIN, world.now, Origin.API)
    world.backend(6).set_healthy(False, world.now)
    world.now = 5.5
    found = [(e.state, e.since_s, e.wanted_by) for e in of_backends(world).values()]
    assert found == [
        ("draining", 2.5, ("agent",)),
        ("down", None, ("file",)),
        ("draining", None, ("file", "api")),
        ("full", 5.5, ()),
        ("penalised", 3.5, ()),
        ("unhealthy", 2.5, ()),
    ]
    world.backend(1).set_admin(Admin.READY, world.now, Origin.AGENT)
    back = of_backends(world)["b1"]
    assert (back.state, back.since_s, back.wanted_by) == ("usable", None, ())


def test_a_penalty_ends_by_time_though_nobody_was_picked_since() -> None:
    world = one_rule({"max_fails": 1, "fail_timeout_s": 2}, {"max_fails": 1, "fail_timeout_s": 9})
    for number in (1, 2):
        world.backend(number).failed(1.0)
    world.now = 4.0
    first, second = of_backends(world).values()
    assert (first.state, first.since_s, first.share_pct) == ("usable", None, 100)
    assert (second.state, second.since_s, second.share_pct) == ("penalised", 3.0, 0)


def test_an_obstacle_that_is_overruled_is_still_named() -> None:
    world = one_rule({}, {"backup": True}, all_down="try_all")
    for number in (1, 2):
        world.backend(number).set_healthy(False, 1.0)
    world.now = 3.0
    found = of_backends(world)
    for each in found.values():
        assert (each.state, each.in_spite_of, each.since_s) == ("usable", "unhealthy", 2.0)
    world.backend(2).set_healthy(True, world.now)
    found = of_backends(world)
    assert (found["b1"].state, found["b1"].in_spite_of) == ("unhealthy", None)
    assert (found["b2"].state, found["b2"].backup, found["b2"].share_pct) == ("usable", True, 100)


def test_the_last_check_in_words_with_its_age() -> None:
    world = one_rule({}, {}, {})
    world.now = 10.0
    world.backend(1).last_check = CheckResult(9.5, 0.002, True)
    world.backend(2).last_check = CheckResult(8.0, 1.0, False, "no answer in 1 s")
    found = of_backends(world)
    first, second = found["b1"].last_check, found["b2"].last_check
    assert first is not None
    assert second is not None
    assert (first.words, first.passed, first.age_s, first.duration_ms) == ("passed", True, 0.5, 2)
    assert (second.words, second.passed) == ("no answer in 1 s", False)
    assert found["b3"].last_check is None


def test_who_waits_and_who_else_uses_a_backend() -> None:
    document = """
    backends: [{id: b1, address: "10.0.0.1:80", max_connections: 2}]
    rules:
      - {name: one, clients: ["0.0.0.0/0:80"], targets: [b1], queue: {max_waiting: 1}}
      - {name: two, clients: ["0.0.0.0/0:81"], targets: [b1]}
    """
    both = world(document)
    for rule in both.rules:
        Carrier(both, rule=rule).choose()
    waits, turned_away = (Carrier(both, rule=both.rules[0]) for _ in range(2))
    waits.choose()
    turned_away.choose()
    one, two = snapshot(both).rules
    assert (one.open, one.waiting, two.open, two.waiting) == (2, 1, 1, 0)
    assert one.refused == one.closed == {"queue_full": 1}
    assert [(b.open, b.active, b.max_connections) for b in (*one.backends, *two.backends)] == [
        (1, 2, 2)
    ] * 2


def test_what_is_ended_after_it_was_served_was_not_refused() -> None:
    world = one_rule({})
    served(world).close(CloseReason.SHUTDOWN)
    assert of_rule(world).closed == {"shutdown": 1}
    assert of_rule(world).refused == {}


def test_clients_without_a_rule_and_dropped_datagrams_are_of_the_process() -> None:
    world = one_rule({}, protocol="udp")
    world.ledger.nobodys("udp", LISTENER, CLIENT, 0.0)
    world.ledger.dropped[Drop.RATE] += 3
    found = snapshot(world)
    assert found.closed == {"tcp": {}, "udp": {"no_rule": 1}}
    assert found.dropped == {"rate": 3}
    assert found.rules[0].closed == {}


def test_slices_come_to_the_same_as_the_whole() -> None:
    world = one_rule(*({"address": f"10.0.{n // 200}.{1 + n % 200}:80"} for n in range(3 * SLICE)))
    slices = status_in_slices(world.rules, world.ledger, world.now)
    for _ in range(3):
        next(slices)
    with pytest.raises(StopIteration) as end:
        next(slices)
    assert end.value.value == snapshot(world)


REPORT = LoadReport(10.0, 10.0, 10.0, 10.0)
SHAPES: dict[str, dict[str, Any]] = {
    "alone": {},
    "tiers": {"all_down": "try_all"},
    "capped": {"passive": {"max_ejected_pct": 50}},
}


class Asked:
    """A rule in use, which somebody asks for its status all the time, or nobody does."""

    def __init__(self, method: str, shape: str, asking: bool) -> None:
        penalty = {"max_fails": 1, "fail_timeout_s": 1, "slow_start": {"duration_s": 1}}
        self.world = one_rule(
            *({**penalty, "weight": weight, "max_connections": 4} for weight in (1, 2, 3)),
            {**penalty, "backup": shape == "tiers"},
            strategy={"type": method},
            **SHAPES[shape],
        )
        self.asking = asking
        self.carriers: list[Carrier] = []
        self.picks: list[str | None] = []

    def go(self, lots: random.Random) -> None:
        """One step, by lots that are the same for both."""
        world, kind = self.world, lots.randrange(10)
        which, client = lots.randrange(100), Address(f"10.9.{lots.randrange(9)}.1", 1)
        if self.asking:
            snapshot(world)
        if kind < 4:
            carrier = Carrier(world, client)
            self.picks.append(carrier.choose(waits=False))
            if carrier.backend is not None:
                self.carriers.append(carrier)
        elif kind < 7:
            world.now += lots.random()
            for backend in world.pool.values():
                backend.ramp(world.now)
        elif kind == 7:
            backend = world.backend(1 + which % 4)
            world.rule.balancer.reported(backend, REPORT, world.now)
            for due in world.rule.balancer.probes_due(world.now):
                world.rule.balancer.probed(due, which % 5, which / 1e3, world.now)
        elif self.carriers:
            carrier = self.carriers.pop(which % len(self.carriers))
            if kind == 8 and which % 2:
                carrier.fail()
            else:
                carrier.reach()
                carrier.carry(which, which * which)
            if carrier.backend is None:
                self.picks.append(carrier.choose(waits=False))
            carrier.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", sorted(ALGORITHMS))
def test_asking_changes_no_pick(method: str, shape: str) -> None:
    for seed in range(5):
        asked, alone = (Asked(method, shape, asking) for asking in (True, False))
        for each in (asked, alone):
            lots = random.Random(seed)
            for _ in range(300):
                each.go(lots)
        assert len(set(alone.picks)) > 1
        assert asked.picks == alone.picks
