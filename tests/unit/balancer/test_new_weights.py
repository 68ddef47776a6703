"""A weight changed at run time, drained, or held back by slow start: shares follow it."""

import random
from collections import Counter
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Outcome
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.config.strategies import STRATEGIES

TOLERANCE = {
    "round_robin": 0.005,
    "least_conn": 0.005,
    "least_bytes": 0.01,
    "adaptive": 0.01,
    "random": 0.05,
    "source_hash": 0.05,
    "hash": 0.05,
    "ip_hash": 0.05,
    "maglev": 0.05,
    "ketama": 0.1,
    "ring_hash": 0.1,
    "source": 0.05,
}
"""Of a share of 1, over 2000 clients: 4 standard deviations of chance, and of a ring's points."""
IN_TURN = ("round_robin", "least_conn", "least_bytes", "adaptive", "random")
"""Those that heed slow start; a hash would move its keys twice."""
CLIENTS = 2000
STEP_S = 0.02
"""So that least_bytes forgets, with its 10 s, what was before."""


class Rig:
    """Four equal backends, and a clock."""

    def __init__(self, method: str) -> None:
        self.backends = [
            Backend(f"b{i}", Address("127.0.0.1", 21000 + i), slow_start=SlowStart(1e9, 0.25))
            for i in range(4)
        ]
        self.pool = BackendPool(self.backends)
        self.balancer: Balancer[Any] = make_balancer(
            STRATEGIES[method](type=method), random.Random(1)
        )
        self.now = 1.0
        self.balancer.rebuild(self.backends, self.now)

    def shares(self) -> list[float]:
        """Of so many clients, each with one connection that ends before the next begins."""
        served = Counter[Backend]()
        for number in range(CLIENTS):
            self.now += STEP_S
            client = Address(f"10.{number % 211}.{number // 8 % 256}.{number % 199}", 40000)
            backend = self.balancer.pick(client, self.now)
            assert backend is not None
            served[backend] += 1
            lease = self.pool.lease(backend, self.balancer, self.now)
            lease.moved(1000, self.now)
            lease.release(Outcome(bytes_down=1000), self.now)
        return [served[backend] / CLIENTS for backend in self.backends]


@pytest.mark.parametrize("method", sorted(TOLERANCE))
def test_shares_follow_a_new_weight_and_draining_and_the_way_back(method: str) -> None:
    rig = Rig(method)
    rig.shares()
    rig.backends[1].set_weight(5, rig.now, Origin.FILE)
    expected = [1 / 8, 5 / 8, 1 / 8, 1 / 8]
    assert rig.shares() == pytest.approx(expected, abs=TOLERANCE[method])
    rig.backends[1].set_weight(0, rig.now, Origin.FILE)
    rig.backends[2].set_weight(2, rig.now, Origin.FILE)
    assert rig.shares() == pytest.approx([1 / 4, 0, 2 / 4, 1 / 4], abs=TOLERANCE[method])
    rig.backends[1].set_weight(1, rig.now, Origin.FILE)
    rig.backends[2].set_weight(1, rig.now, Origin.FILE)
    assert rig.shares() == pytest.approx([1 / 4] * 4, abs=TOLERANCE[method])


@pytest.mark.parametrize("method", IN_TURN)
def test_a_backend_that_starts_slowly_gets_its_part(method: str) -> None:
    rig = Rig(method)
    rig.shares()
    rig.backends[3].warm_up(rig.now)
    assert rig.shares() == pytest.approx([4 / 13] * 3 + [1 / 13], abs=TOLERANCE[method])
