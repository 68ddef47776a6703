"""What holds of every algorithm, for any pool, in any state."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome
from nginy.backend.pool import BackendPool, Lease
from nginy.balancer.base import Balancer
from nginy.balancer.registry import ALGORITHMS, make_balancer
from nginy.config.schema import STRATEGY_TYPES, StrategySettings

every_algorithm = pytest.mark.parametrize("method", sorted(ALGORITHMS))
NOW = 100.0


@dataclass
class Member:
    weight: int
    state: str
    avoided: bool

    def build(self, index: int) -> Backend:
        backend = Backend(str(index), Address("127.0.0.1", 21000 + index), self.weight, max_fails=1)
        backend.down = self.state == "down"
        if self.state == "full":
            backend.max_connections = backend.active = 1
        if self.state == "penalised":
            backend.failed(NOW - 1.0)
        return backend


members = st.lists(
    st.builds(
        Member,
        weight=st.integers(1, 50),
        state=st.sampled_from(["up", "up", "down", "full", "penalised"]),
        avoided=st.booleans(),
    ),
    max_size=8,
)
clients = st.ip_addresses().map(lambda ip: Address(str(ip), 40000))


def make(method: str, backends: list[Backend], seed: int = 0) -> Balancer:
    balancer = make_balancer(StrategySettings(type=method), random.Random(seed))
    balancer.rebuild(backends, 0.0)
    return balancer


def test_configuration_and_registry_name_the_same_algorithms() -> None:
    assert set(ALGORITHMS) == set(STRATEGY_TYPES)


@every_algorithm
@given(pool=members, client=clients, seed=st.integers(0, 2**32))
def test_picks_a_usable_backend_or_none_if_there_is_none(
    method: str, pool: list[Member], client: Address, seed: int
) -> None:
    backends = [member.build(index) for index, member in enumerate(pool)]
    avoid = [backend for backend, member in zip(backends, pool, strict=True) if member.avoided]
    usable = [
        backend
        for backend in backends
        if backend not in avoid
        and (backend.available(NOW) or (len(backends) == 1 and backend.accepting))
    ]
    picked = make(method, backends, seed).pick(client, NOW, avoid)
    assert picked in usable if usable else picked is None


@every_algorithm
def test_the_only_backend_is_tried_in_spite_of_its_penalty(method: str) -> None:
    backend = Backend("0", Address("127.0.0.1", 1), max_fails=1)
    backend.failed(NOW)
    assert not backend.available(NOW)
    assert make(method, [backend]).pick(Address("192.0.2.1", 1), NOW) is backend


@every_algorithm
@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps=st.lists(st.tuples(st.sampled_from("ocf"), st.integers(0, 99)), max_size=60),
    seed=st.integers(0, 2**32),
)
def test_leases_count_right_and_a_seed_decides_everything(
    method: str, weights: list[int], steps: list[tuple[str, int]], seed: int
) -> None:
    first = replay(method, weights, steps, seed)
    assert replay(method, weights, steps, seed) == first


def replay(
    method: str, weights: list[int], steps: list[tuple[str, int]], seed: int
) -> list[str | None]:
    """Open, close and fail connections as told; the backends picked, by id."""
    backends = [
        Backend(str(i), Address("127.0.0.1", i), w, max_connections=4, max_fails=2)
        for i, w in enumerate(weights)
    ]
    pool = BackendPool(backends)
    balancer = make(method, backends, seed)
    held: list[Lease] = []
    picks: list[str | None] = []
    for now, (step, number) in enumerate(steps):
        if step == "o":
            backend = balancer.pick(Address(f"192.0.2.{number}", 40000), now)
            picks.append(None if backend is None else backend.id)
            if backend is not None:
                held.append(pool.lease(backend, balancer, now))
        elif held:
            held.pop(number % len(held)).release(Outcome(failed=step == "f"), now)
        assert sum(backend.active for backend in backends) == pool.open_leases == len(held)
        assert all(0 <= backend.active <= backend.max_connections for backend in backends)
    for lease in held:
        lease.release(Outcome(), len(steps))
    assert pool.open_leases == 0
    assert all(backend.active == 0 for backend in backends)
    return picks


@every_algorithm
def test_rebuild_takes_members_in_and_out(method: str) -> None:
    backends = [Backend(str(i), Address("127.0.0.1", i)) for i in range(3)]
    balancer = make(method, backends)
    clients = [Address(f"192.0.2.{i}", 40000) for i in range(200)]
    assert {balancer.pick(client, 0.0) for client in clients} == set(backends)
    balancer.rebuild(backends[1:], 0.0)
    assert {balancer.pick(client, 0.0) for client in clients} == set(backends[1:])
    # A connection to the member that left may still fail: nobody must stumble over that.
    backends[0].max_fails = 1
    balancer.closed(backends[0], Outcome(failed=True), 0.0)
    balancer.rebuild([], 0.0)
    assert balancer.pick(clients[0], 0.0) is None
