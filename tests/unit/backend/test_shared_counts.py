"""Counters that worker processes share."""

import os

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool
from nginy.backend.shared_counts import Columns, SharedCounts


def test_others_are_all_but_oneself() -> None:
    counts = SharedCounts(rows=3, columns=2)
    for row in range(3):
        counts.be_worker(row)
        counts.set(0, 10**row)
        counts.set(1, 7)
    counts.be_worker(1)
    assert (counts.others(0), counts.others(1)) == (101, 14)


def test_a_single_worker_has_no_others() -> None:
    counts = SharedCounts(rows=1, columns=1)
    counts.set(0, 5)
    assert counts.others(0) == 0


def test_a_row_there_is_not() -> None:
    with pytest.raises(ValueError, match="row 2 of 2"):
        SharedCounts(rows=2, columns=1).be_worker(2)


def test_a_forked_worker_is_seen() -> None:
    counts = SharedCounts(rows=2, columns=3)
    pid = os.fork()
    if pid == 0:
        counts.be_worker(1)
        counts.set(2, 42)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert counts.others(2) == 42


def test_what_a_worker_that_died_carried_is_forgotten_with_its_successor() -> None:
    counts = SharedCounts(rows=2, columns=2)
    counts.be_worker(1)
    counts.set(0, 3)
    counts.be_worker(0)
    counts.set(1, 4)
    assert counts.others(0) == 3
    counts.be_worker(1)
    assert counts.others(1) == 4
    counts.be_worker(0)
    assert counts.others(0) == 0


def backend(name: str, max_connections: int = 0) -> Backend:
    return Backend(name, Address("127.0.0.1", 80), max_connections=max_connections)


def test_a_limit_counts_what_other_workers_carry() -> None:
    counts = SharedCounts(rows=2, columns=1)
    own = backend("a", max_connections=3)
    BackendPool([own], Columns(counts))
    counts.be_worker(1)
    counts.set(own.slot, 2)
    counts.be_worker(0)
    own.opened(0.0)
    assert own.full
    own.released(1.0)
    assert not own.full


def test_a_column_comes_back_once_nothing_is_open() -> None:
    web = backend("web")
    pool = BackendPool([web], Columns(SharedCounts(rows=1, columns=1)))
    web.opened(0.0)
    first, second = backend("web@10.0.0.1"), backend("web@10.0.0.2")
    pool.expand("web", [first])
    assert first.counts is None, "the one column is still in use"
    web.released(1.0)
    pool.expand("web", [second])
    assert second.counts is not None
    assert web.counts is None
