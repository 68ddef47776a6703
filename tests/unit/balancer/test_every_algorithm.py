"""What holds of every algorithm, for any pool, in any state, after anything that may happen."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import ALGORITHMS, make_balancer
from nginy.config.strategies import STRATEGIES

every_algorithm = pytest.mark.parametrize("method", sorted(ALGORITHMS))
NOW = 100.0
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "hash": [{"key": "address_port"}],
    "ketama": [{"load_factor": 1.25}],
    "ring_hash": [{"load_factor": 1.25}],
    "maglev": [{"load_factor": 1.25, "table_size": 251}],
    "source": [{"method": "consistent"}, {"method": "consistent", "load_factor": 1.5}],
    "least_time": [{"metric": "connect", "inflight": True}, {"metric": "last_byte"}],
    "peak_ewma": [{"metric": "connect", "initial_ms": 30.0}],
    "join_idle_queue": [{"otherwise": "least_conn"}, {"otherwise": "random_two"}],
}
"""Settings that take another path through the code, beside the defaults."""
every_variant = pytest.mark.parametrize(
    ("method", "options"),
    [
        (method, options)
        for method in sorted(ALGORITHMS)
        for options in ({}, *VARIANTS.get(method, []))
    ],
)

STICKY = {"source_hash", "hash", "ip_hash", "ketama", "ring_hash", "maglev", "source"}
"""A key decides: a backend to which no client's key falls gets nobody."""
OWN_ORDER = {"ring_hash", "maglev", "source"}
"""What is compared is the client's order of the backends."""
PACKING = {"first"}
"""By its rule, the later ones get somebody only when the earlier ones are full."""
BY_WEIGHT = {"round_robin": 0.0, "least_conn": 0.0, "random": 0.05, "least_bytes": 0.05}
"""Shares follow the weights of idle backends: how far off they may be, of 1."""


@dataclass
class Member:
    weight: int
    state: str
    avoided: bool

    def build(self, index: int) -> Backend:
        backend = Backend(
            str(index),
            Address("127.0.0.1", 21000 + index),
            self.weight,
            max_connections=1 if self.state == "full" else 0,
            penalty=Penalty(max_fails=1),
        )
        if self.state == "full":
            backend.opened(NOW - 1.0)
        elif self.state == "penalised":
            backend.failed(NOW - 1.0)
        backend.set_healthy(self.state != "unhealthy", NOW - 1.0)
        admin = {"down": Admin.DOWN, "drained": Admin.DRAIN}.get(self.state, Admin.READY)
        backend.set_admin(admin, NOW - 1.0, Origin.FILE)
        return backend


STATES = ("up", "up", "up", "down", "drained", "unhealthy", "full", "penalised")
members = st.lists(
    st.builds(
        Member,
        weight=st.integers(1, 9),
        state=st.sampled_from(STATES),
        avoided=st.booleans(),
    ),
    max_size=8,
)
clients = st.ip_addresses().map(lambda ip: Address(str(ip), 40000))


def make(
    method: str, backends: list[Backend], seed: int = 0, options: dict[str, Any] | None = None
) -> Balancer[Any]:
    made = STRATEGIES[method](type=method, **(options or {}))
    balancer = make_balancer(made, random.Random(seed))
    balancer.rebuild(backends, 0.0)
    return balancer


def test_configuration_and_registry_name_the_same_algorithms() -> None:
    assert set(ALGORITHMS) == set(STRATEGIES)


@every_algorithm
def test_the_class_says_its_rule_cost_and_source(method: str) -> None:
    said = ALGORITHMS[method].__doc__ or ""
    assert "Cost" in said
    assert "Source" in said


@every_variant
@settings(max_examples=25)
@given(pool=members, client=clients, seed=st.integers(0, 2**32))
def test_picks_a_usable_backend_or_none_if_there_is_none(
    method: str, options: dict[str, Any], pool: list[Member], client: Address, seed: int
) -> None:
    backends = [member.build(index) for index, member in enumerate(pool)]
    avoid = [backend for backend, member in zip(backends, pool, strict=True) if member.avoided]
    usable = [
        backend
        for backend, member in zip(backends, pool, strict=True)
        if backend not in avoid
        and (backend.available(NOW) or (len(backends) == 1 and member.state == "penalised"))
    ]
    picked = make(method, backends, seed, options).pick(client, NOW, avoid)
    assert picked in usable if usable else picked is None


@every_algorithm
def test_the_only_backend_is_tried_in_spite_of_its_penalty(method: str) -> None:
    backend = Backend("0", Address("127.0.0.1", 1), penalty=Penalty(max_fails=1))
    backend.failed(NOW)
    assert not backend.available(NOW)
    assert make(method, [backend]).pick(Address("192.0.2.1", 1), NOW) is backend


EVENTS = (
    *("pick", "pick", "pick", "close", "fail", "progress", "weigh", "drain", "off", "ready"),
    *("sick", "well", "limit", "report", "probe", "rebuild", "remove", "time", "explain"),
)
worlds = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 99)), max_size=80)


class World:
    """A balancer, its backends, and everything that may happen to them."""

    def __init__(self, method: str, options: dict[str, Any], weights: list[int], seed: int) -> None:
        self.backends = [
            Backend(
                str(i),
                Address("127.0.0.1", i + 1),
                weight,
                max_connections=4 if i % 3 == 1 else 0,
                penalty=Penalty(i % 3, 5.0, 20.0),
                slow_start=SlowStart(6.0) if i % 2 else SlowStart(),
            )
            for i, weight in enumerate(weights)
        ]
        self.members = list(self.backends)
        self.pool = BackendPool(self.backends)
        self.balancer = make(method, self.backends, seed, options)
        self.held: list[Lease] = []
        self.picks: list[str | None] = []
        self.now = NOW

    def happen(self, event: str, number: int) -> None:
        backend = self.backends[number % len(self.backends)]
        states = {"drain": Admin.DRAIN, "off": Admin.DOWN, "ready": Admin.READY}
        if event == "pick":
            self.pick(number)
        elif event in ("close", "fail") and self.held:
            outcome = Outcome(event == "fail", 10, 5000, 0.2, 0.001, 0.05 * (number % 4) or None)
            self.held.pop(number % len(self.held)).release(outcome, self.now)
        elif event == "progress" and self.held:
            lease = self.held[number % len(self.held)]
            lease.connected(0.001, self.now)
            lease.first_byte(0.001 * number, self.now)
            lease.moved(100 * number, self.now)
        elif event == "weigh":
            backend.set_weight(number % 4, self.now, Origin.FILE)
        elif event in states:
            backend.set_admin(states[event], self.now, Origin.FILE)
        elif event in ("sick", "well"):
            backend.set_healthy(event == "well", self.now)
        elif event == "limit":
            backend.set_max_connections(number % 4, self.now, Origin.FILE)
        elif event == "report":
            report = LoadReport(number, number / 2, 1.0, 0.0, number % 5, 0.001 * number)
            self.balancer.reported(backend, report, self.now)
        elif event == "probe":
            for asked in self.balancer.probes_due(self.now):
                self.balancer.probed(asked, number % 7, 0.001 * number, self.now)
        elif event == "rebuild":
            random.Random(number).shuffle(self.backends)
            self.members = self.backends[: number % (len(self.backends) + 1)]
            self.balancer.rebuild(self.members, self.now)
        elif event == "time":
            self.now += number / 10
            for each in self.backends:
                each.ramp(self.now)
        elif event == "explain":
            self.explain(number)

    def usable(self, avoid: list[Backend]) -> list[Backend]:
        """By asking everybody; the only member is excused from its penalty."""
        usable = [backend for backend in self.members if backend.available(self.now)]
        if len(self.members) == 1 and not self.members[0].obstacle(self.now, heed_health=False):
            usable = list(self.members) if self.members[0].healthy else []
        return [backend for backend in usable if backend not in avoid]

    def pick(self, number: int) -> None:
        avoid = [self.backends[number % len(self.backends)]] if number % 5 == 0 else []
        client = Address(f"192.0.2.{number}", 40000 + number)
        backend = self.balancer.pick(client, self.now, avoid)
        usable = self.usable(avoid)
        assert backend in usable if usable else backend is None
        self.picks.append(backend and backend.id)
        if backend is not None:
            self.held.append(self.pool.lease(backend, self.balancer, self.now))

    def explain(self, number: int) -> None:
        client = Address(f"198.51.100.{number}", 40000)
        backend = self.balancer.pick(client, self.now)
        if backend is not None:
            assert self.balancer.reason(client, backend, self.now)
            scores = self.balancer.scores(client, self.now)
            assert all(scores.values())
            assert scores.keys() <= set(self.usable([]))

    def end(self) -> None:
        for lease in self.held:
            lease.release(Outcome(), self.now)
        assert self.pool.open_leases == 0
        assert all(backend.active == 0 for backend in self.backends)


@every_variant
@settings(max_examples=25)
@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps=worlds,
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_it_picks_who_is_usable_and_a_seed_decides_everything(
    method: str,
    options: dict[str, Any],
    weights: list[int],
    steps: list[tuple[str, int]],
    seed: int,
) -> None:
    worlds = [World(method, options, weights, seed) for _ in range(2)]
    for world in worlds:
        for step in steps:
            world.happen(*step)
        world.end()
    assert worlds[0].picks == worlds[1].picks


@every_algorithm
def test_explaining_changes_nothing(method: str) -> None:
    plain, explained = (World(method, {}, [1, 2, 3, 4], 7) for _ in range(2))
    client = Address("198.51.100.9", 40000)
    for number in range(60):
        for world in (plain, explained):
            world.happen("pick", number)
            world.happen("close" if number % 3 else "probe", number)
        explained.balancer.scores(client, explained.now)
    assert plain.picks == explained.picks


@every_variant
def test_scores_without_a_client_are_those_that_hold_for_everybody(
    method: str, options: dict[str, Any]
) -> None:
    world = World(method, options, [1, 2, 3, 4], 7)
    for number in range(40):
        world.happen("pick", number)
    client = Address("198.51.100.9", 40000)
    scores = world.balancer.scores(client, world.now)
    assert scores
    own_order = method in OWN_ORDER
    assert world.balancer.scores(None, world.now) == ({} if own_order else scores)


@pytest.mark.parametrize("method", sorted(ALGORITHMS.keys() - PACKING))
def test_nobody_starves(method: str) -> None:
    """Every usable backend is picked in the end, with many clients and connections that live."""
    world = World(method, {}, [1, 5, 2, 9], 3)
    for backend in world.backends:
        backend.set_max_connections(0, world.now, Origin.FILE)
    served: Counter[str] = Counter()
    for number in range(3000):
        client = Address(f"10.{number % 251}.{number % 241}.{number % 239}", 40000)
        backend = world.balancer.pick(client, world.now)
        assert backend is not None
        served[backend.id] += 1
        world.held.append(world.pool.lease(backend, world.balancer, world.now))
        for asked in world.balancer.probes_due(world.now):
            world.balancer.probed(asked, asked.active, 0.01 * (1 + asked.active), world.now)
        if len(world.held) > 12:
            outcome = Outcome(False, 10, 5000, 0.05, 0.001, 0.02)
            world.held.pop(0).release(outcome, world.now)
        world.now += 0.004
    assert set(served) == {backend.id for backend in world.backends}


@pytest.mark.parametrize("method", sorted(STICKY))
def test_a_key_keeps_its_backend_and_gets_it_back(method: str) -> None:
    backends = [Backend(str(i), Address("127.0.0.1", i + 1), 1 + i % 3) for i in range(7)]
    balancer = make(method, backends)
    many = [Address(f"10.{i % 200}.{i // 200}.9", 40000) for i in range(1000)]
    before = [balancer.pick(client, NOW) for client in many]
    assert [balancer.pick(client, NOW) for client in many] == before
    backends[3].set_weight(0, NOW, Origin.FILE)
    drained = [balancer.pick(client, NOW) for client in many]
    assert backends[3] in before
    assert backends[3] not in drained
    if method != "source":  # HAProxy's map is laid out anew
        moved = [old for old, new in zip(before, drained, strict=True) if old is not new]
        assert set(moved) == {backends[3]}
    backends[3].set_weight(1, NOW, Origin.FILE)
    assert [balancer.pick(client, NOW) for client in many] == before


@pytest.mark.parametrize("method", sorted(BY_WEIGHT))
def test_idle_backends_are_chosen_in_proportion_to_weight(method: str) -> None:
    backends = [Backend(str(i), Address("127.0.0.1", i + 1), w) for i, w in enumerate((5, 1, 2, 2))]
    balancer = make(method, backends, seed=5)
    pool = BackendPool(backends)
    picks = 2000
    served: Counter[str] = Counter()
    for number in range(picks):
        backend = balancer.pick(Address("192.0.2.1", 40000), NOW + number / 1000)
        assert backend is not None
        served[backend.id] += 1
        lease = pool.lease(backend, balancer, NOW + number / 1000)
        lease.moved(1000, NOW + number / 1000)
        lease.release(Outcome(bytes_down=1000), NOW + number / 1000)
    for backend in backends:
        share = backend.weight / 10
        assert served[backend.id] / picks == pytest.approx(share, abs=BY_WEIGHT[method] or 1e-9)


@every_algorithm
def test_rebuild_takes_members_in_and_out(method: str) -> None:
    backends = [Backend(str(i), Address("127.0.0.1", i)) for i in range(3)]
    balancer = make(method, backends)
    pool = BackendPool(backends)
    many = [Address(f"192.{i % 7}.{i % 11}.{i}", 40000) for i in range(200)]

    def serve() -> set[Backend | None]:
        picked = set()
        for client in many:
            backend = balancer.pick(client, 0.0)
            assert backend is not None
            picked.add(backend)
            pool.lease(backend, balancer, 0.0)
        return picked

    first = serve()
    assert first == ({backends[0]} if method in PACKING else set(backends))
    balancer.rebuild(backends[1:], 0.0)
    second = serve()
    assert second == ({backends[1]} if method in PACKING else set(backends[1:]))
    # A connection to the member that left may still fail: nobody must stumble over that.
    backends[0].penalty = Penalty(max_fails=1)
    balancer.closed(backends[0], Outcome(failed=True), 0.0)
    assert backends[0].watchers == backends[0].load_watchers == []
    balancer.rebuild([], 0.0)
    assert balancer.pick(many[0], 0.0) is None
