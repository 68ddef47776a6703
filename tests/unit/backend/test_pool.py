"""The pool, and a lease that is counted once and released once."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Outcome


class Observer:
    """Writes down what it is told, with the count it saw at that moment."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def opened(self, backend: Backend, now: float) -> None:
        self.seen.append(("opened", backend.id, backend.active, now))

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        self.seen.append(("connected", backend.id, seconds, now))

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        self.seen.append(("first_byte", backend.id, seconds, now))

    def moved(self, backend: Backend, byte_count: int, now: float) -> None:
        self.seen.append(("moved", backend.id, byte_count, now))

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        self.seen.append(("closed", backend.id, backend.active, outcome, now))


def make(*ids: str, max_fails: int = 1) -> BackendPool:
    address = Address("192.0.2.1", 80)
    return BackendPool(Backend(i, address, penalty=Penalty(max_fails)) for i in ids)


def test_members_keep_their_order_and_come_once() -> None:
    pool = make("a", "b", "c")
    assert [backend.id for backend in pool.members(["c", "a", "c"])] == ["c", "a"]
    assert list(pool) == ["a", "b", "c"]
    with pytest.raises(KeyError):
        pool.members(["d"])


def test_a_lease_tells_its_life_with_the_counts_of_the_moment() -> None:
    pool, observer = make("a"), Observer()
    outcome = Outcome(bytes_up=3)
    lease = pool.lease(pool["a"], observer, 1.0)
    lease.connected(0.5, 1.5)
    lease.first_byte(0.75, 1.75)
    lease.moved(300, 2.0)
    lease.release(outcome, 9.0)
    assert observer.seen == [
        ("opened", "a", 1, 1.0),
        ("connected", "a", 0.5, 1.5),
        ("first_byte", "a", 0.75, 1.75),
        ("moved", "a", 300, 2.0),
        ("closed", "a", 0, outcome, 9.0),
    ]


def test_only_the_first_release_counts() -> None:
    pool, observer = make("a"), Observer()
    lease = pool.lease(pool["a"], observer, 0.0)
    lease.release(Outcome(), 1.0)
    lease.release(Outcome(failed=True), 2.0)
    assert (pool.open_leases, pool["a"].active, pool["a"].penalty.fails) == (0, 0, 0)
    assert len(observer.seen) == 2


def test_two_rules_share_a_backend_and_its_count() -> None:
    pool = make("a")
    first = pool.lease(pool["a"], Observer(), 0.0)
    pool.lease(pool["a"], Observer(), 0.0)
    assert (pool["a"].active, pool.open_leases) == (2, 2)
    first.release(Outcome(), 0.0)
    assert (pool["a"].active, pool.open_leases) == (1, 1)


def test_a_failed_release_feeds_the_passive_check_and_a_connect_after_it_clears_it() -> None:
    pool, observer = make("a"), Observer()
    backend = pool["a"]
    pool.lease(backend, observer, 0.0).release(Outcome(failed=True), 1.0)
    assert not backend.available(2.0)
    lease = pool.lease(backend, observer, 20.0)
    lease.connected(0.1, 20.1)
    assert backend.penalty.fails == 0
    lease.release(Outcome(), 21.0)
    assert backend.available(21.0)


def test_a_client_that_leaves_before_the_backend_answered_clears_nothing() -> None:
    pool, observer = make("a"), Observer()
    pool.lease(pool["a"], observer, 0.0).release(Outcome(failed=True), 1.0)
    pool.lease(pool["a"], observer, 20.0).release(Outcome(), 20.5)
    assert pool["a"].penalty.fails == 1
