"""Least connections beyond the recorded answers: what a pick without a tie leaves alone."""

import random

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Outcome
from nginy.balancer.least_conn import LeastConn
from nginy.config.strategies import LeastConnSettings

CLIENT = Address("192.0.2.1", 40000)


def make(weights: list[int]) -> tuple[LeastConn, list[Backend], BackendPool]:
    backends = [
        Backend(str(i), Address("127.0.0.1", i + 1), weight, penalty=Penalty(max_fails=4))
        for i, weight in enumerate(weights)
    ]
    balancer = LeastConn(LeastConnSettings(), random.Random(0))
    balancer.rebuild(backends, 0.0)
    return balancer, backends, BackendPool(backends)


def test_a_punished_backend_recovers_in_ties_alone() -> None:
    """nginx takes no step of smooth round robin where there is no tie."""
    balancer, (punished, other), pool = make([4, 4])
    for _ in range(3):
        pool.lease(punished, balancer, 0.0).release(Outcome(failed=True), 0.0)
    held = pool.lease(other, balancer, 0.0)
    for _ in range(10):
        assert balancer.pick(CLIENT, 0.0) is punished
    held.release(Outcome(), 0.0)
    # Owed 1, 2 and 3 to it, as it wins back, and 4 each time to the other; the sum is paid.
    assert [balancer.pick(CLIENT, 0.0) for _ in range(4)] == [other, punished, other, punished]


def test_scores_that_nobody_has_any_more_are_forgotten() -> None:
    balancer, backends, pool = make([1, *range(1000, 1010)])
    for number in range(5000):
        pool.lease(backends[1 + number % 10], balancer, 0.0)
    assert len(balancer._buckets._groups) < 200
    assert balancer.pick(CLIENT, 0.0) is backends[0]
