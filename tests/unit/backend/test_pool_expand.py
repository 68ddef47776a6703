"""A configured id that stands for several backends."""

import random

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Outcome, at_host, make_backend
from nginy.balancer.round_robin import RoundRobin
from nginy.config.schema import BackendSettings
from nginy.config.strategies import RoundRobinSettings

WEB = BackendSettings.model_validate({"id": "web", "address": "web.test:80", "weight": 3})


def backend(name: str) -> Backend:
    return Backend(name, Address("192.0.2.1", 80))


def pool_with_a_name() -> BackendPool:
    return BackendPool([backend("a"), make_backend(WEB), backend("z")])


def test_a_name_stands_for_its_addresses_in_its_place() -> None:
    pool = pool_with_a_name()
    pool.expand("web", [backend("web@1"), backend("web@2")])
    assert list(pool) == ["a", "web@1", "web@2", "z"]
    assert [each.id for each in pool.members(["z", "web", "a", "web"])] == [
        "z", "web@1", "web@2", "a",
    ]  # fmt: skip
    assert "web" not in pool


def test_who_vanishes_leaves_and_who_stays_is_the_same() -> None:
    pool = pool_with_a_name()
    first, second, third = (backend(f"web@{n}") for n in range(3))
    pool.expand("web", [first, second])
    pool.expand("web", [second, third])
    assert pool.members(["web"]) == (second, third)
    assert "web@0" not in pool
    pool.expand("web", [])
    assert pool.members(["web", "a"]) == (pool["a"],)
    assert len(pool) == 2


def test_a_lease_on_one_that_left_is_released() -> None:
    pool = pool_with_a_name()
    gone = backend("web@0")
    pool.expand("web", [gone])
    balancer = RoundRobin(RoundRobinSettings(), random.Random(1))
    lease = pool.lease(gone, balancer, 1.0)
    pool.expand("web", [])
    lease.release(Outcome(), 2.0)
    assert (gone.active, pool.open_leases) == (0, 0)


def test_only_configured_ids_are_expanded() -> None:
    pool = pool_with_a_name()
    pool.expand("web", [backend("web@1")])
    with pytest.raises(KeyError):
        pool.expand("web@1", [])
    with pytest.raises(KeyError):
        pool.members(["web@1"])


@pytest.mark.parametrize(
    ("host", "hash_name"),
    [("10.0.0.1", "10.0.0.1:80"), ("2001:db8::1", "[2001:db8::1]:80")],
)
def test_the_backend_at_an_address_of_a_name(host: str, hash_name: str) -> None:
    made = make_backend(at_host(WEB, host))
    assert (made.id, made.address, made.weight) == (f"web@{host}", Address(host, 80), 3)
    assert made.hash_name == hash_name
