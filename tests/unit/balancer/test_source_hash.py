"""Source hash beyond the recorded answers: stickiness, movement, addresses."""

import random
from binascii import crc32

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.hash_key import key_of
from nginy.balancer.modulo_hash import SourceHash
from nginy.balancer.round_robin import RoundRobin
from nginy.config.strategies import HashSettings, RoundRobinSettings, SourceHashSettings

CLIENTS = [Address(f"198.51.{i // 200}.{i % 200}", 40000 + i) for i in range(600)]


def make(weights: list[int]) -> tuple[SourceHash, list[Backend]]:
    backends = [Backend(str(i), Address("127.0.0.1", i), w) for i, w in enumerate(weights)]
    balancer = SourceHash(SourceHashSettings(), random.Random(0))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


@given(host=st.ip_addresses().map(str), ports=st.lists(st.integers(1, 65535), min_size=2))
def test_the_port_does_not_matter(host: str, ports: list[int]) -> None:
    balancer, _ = make([1, 2, 3])
    assert len({balancer.pick(Address(host, port), 0.0) for port in ports}) == 1


@given(host=st.ip_addresses(v=4).map(str))
def test_a_client_of_a_dual_stack_listener_keeps_its_backend(host: str) -> None:
    balancer, _ = make([1, 2, 3])
    mapped = Address(f"::ffff:{host}", 40000)
    assert balancer.pick(mapped, 0.0) is balancer.pick(Address(host, 40000), 0.0)


def test_an_ipv6_address_is_hashed_as_its_text() -> None:
    assert key_of(Address("2001:db8::ffff:1", 9), "address") == b"2001:db8::ffff:1"
    for host in ("192.0.2.1", "::ffff:192.0.2.1"):
        assert key_of(Address(host, 9), "address") == b"192.0.2.1"
        assert key_of(Address(host, 9), "address_port") == b"192.0.2.1:9"


def test_with_the_port_in_the_key_connections_of_one_client_spread() -> None:
    _, backends = make([1, 1, 1])
    balancer = SourceHash(HashSettings(key="address_port"), random.Random(0))
    balancer.rebuild(backends, 0.0)
    picked = [balancer.pick(Address("192.0.2.1", port), 0.0) for port in range(1000, 1300)]
    assert min(picked.count(backend) for backend in backends) > 60


def test_only_the_clients_of_an_unavailable_backend_move_and_they_come_back() -> None:
    balancer, backends = make([1, 2, 3, 1])
    before = [balancer.pick(client, 0.0) for client in CLIENTS]
    backends[2].set_healthy(False, 0.0)
    during = [balancer.pick(client, 0.0) for client in CLIENTS]
    moved = [old for old, new in zip(before, during, strict=True) if old is not new]
    assert len(moved) == before.count(backends[2]) > 0
    assert set(moved) == {backends[2]}
    assert {new for new in during if new is not None} == set(backends) - {backends[2]}
    backends[2].set_healthy(True, 0.0)
    assert [balancer.pick(client, 0.0) for client in CLIENTS] == before


def test_a_retry_after_a_failed_attempt_goes_where_an_unavailable_choice_would() -> None:
    balancer, backends = make([1, 2, 3, 1])
    for client in CLIENTS:
        first = balancer.pick(client, 0.0)
        assert first is not None
        retry = balancer.pick(client, 0.0, [first])
        first.set_healthy(False, 0.0)
        assert retry is balancer.pick(client, 0.0)
        first.set_healthy(True, 0.0)
    assert all(backend.active == 0 for backend in backends)


def test_a_connection_that_fell_back_to_round_robin_stays_there() -> None:
    """nginx counts its 21 misses over all attempts of a connection."""
    balancer, backends = make([1, 1, 1, 60])
    backends[3].set_healthy(False, 0.0)
    twin = RoundRobin(RoundRobinSettings(), random.Random(0))
    twin.rebuild(backends, 0.0)
    lost = [client for client in CLIENTS if all(point >= 3 for point in walk(client.host, 63))]
    assert len(lost) > 100
    for client in lost:
        first, expected = balancer.pick(client, 0.0), twin.pick(client, 0.0)
        assert first is not None
        assert first is expected
        assert balancer.pick(client, 0.0, [first]) is twin.pick(client, 0.0, [first])


def test_a_retry_goes_on_with_the_walk_where_the_first_attempt_left_it() -> None:
    """The way back to where it was is no miss: with 20 misses in all it is not lost yet."""
    balancer, backends = make([1, 1, 1, 20])
    backends[3].set_healthy(False, 0.0)
    clients = [Address(f"10.{i // 250}.7.{i % 250}", 1) for i in range(4000)]
    checked = 0
    for client in clients:
        points = walk(client.host, 23, steps=22)
        hits = [step for step, point in enumerate(points) if point < 3]
        first = next(iter(hits), 99)
        retry = next((step for step in hits if points[step] != points[first]), 99)
        if first <= 20 and retry == 21:
            checked += 1
            chosen = balancer.pick(client, 0.0)
            assert chosen is backends[points[first]]
            assert balancer.pick(client, 0.0, [chosen]) is backends[points[retry]]
    assert checked > 20


def walk(key: str, total_weight: int, steps: int = 21) -> list[int]:
    """The first points that nginx's stream `hash` tries for `key`."""
    texts = [key, *(f"{step}{key}" for step in range(1, steps))]
    hashes = [(crc32(text.encode()) >> 16) & 0x7FFF for text in texts]
    return [sum(hashes[: step + 1]) % total_weight for step in range(steps)]
