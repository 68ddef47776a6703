"""Join idle queue: the list of the idle, and what happens without one."""

import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.join_idle_queue import JoinIdleQueue
from nginy.config.strategies import JoinIdleQueueSettings

CLIENT = Address("192.0.2.1", 40000)
Otherwise = Literal["random", "random_two", "least_conn"]


class Scene:
    def __init__(self, count: int, otherwise: Otherwise = "random") -> None:
        self.backends = [Backend(str(i), Address("192.0.2.9", i + 1)) for i in range(count)]
        self.pool = BackendPool(self.backends)
        settings = JoinIdleQueueSettings(otherwise=otherwise)
        self.balancer = JoinIdleQueue(settings, random.Random(3))
        self.balancer.rebuild(self.backends, 0.0)

    def take(self) -> Lease:
        backend = self.balancer.pick(CLIENT, 0.0)
        assert backend is not None
        return self.pool.lease(backend, self.balancer, 0.0)


def test_first_in_first_out() -> None:
    scene = Scene(3)
    leases = [scene.take() for _ in range(3)]
    assert [lease.backend.id for lease in leases] == ["0", "1", "2"]
    for place in (2, 0, 1):
        leases[place].release(Outcome(), 0.0)
    assert [scene.take().backend.id for _ in range(3)] == ["2", "0", "1"]


@given(steps=st.lists(st.integers(0, 99), max_size=80), seed=st.integers(0, 999))
def test_a_busy_backend_is_never_chosen_while_another_is_idle(steps: list[int], seed: int) -> None:
    scene, held = Scene(4), list[Lease]()
    for step in steps:
        if step % 3 and held:
            held.pop(step % len(held)).release(Outcome(), 0.0)
        else:
            idle = [backend for backend in scene.backends if backend.active == 0]
            held.append(scene.take())
            assert not idle or held[-1].backend in idle


def test_work_of_another_rule_counts() -> None:
    scene = Scene(2)
    other = Scene(1)
    lease = scene.pool.lease(scene.backends[0], other.balancer, 0.0)
    assert scene.balancer.pick(CLIENT, 0.0) is scene.backends[1]
    lease.release(Outcome(), 0.0)
    assert [scene.take().backend.id for _ in range(2)] == ["1", "0"]


@pytest.mark.parametrize("otherwise", ["random", "random_two", "least_conn"])
def test_with_nobody_idle_the_other_rule_decides(otherwise: Otherwise) -> None:
    scene = Scene(3, otherwise)
    for _ in range(3):
        scene.take()
    for _ in range(2):
        scene.pool.lease(scene.backends[0], scene.balancer, 0.0)
    chosen = [scene.balancer.pick(CLIENT, 0.0) for _ in range(200)]
    loaded = chosen.count(scene.backends[0])
    if otherwise == "random":
        assert 30 < loaded < 110
    else:
        assert loaded == 0
    assert scene.balancer.reason(CLIENT, scene.backends[1], 0.0).startswith("nobody is idle")


def test_an_idle_backend_that_is_drained_leaves_the_list_and_comes_back_to_its_end() -> None:
    scene = Scene(3)
    scene.backends[0].set_admin(Admin.DRAIN, 0.0, Origin.FILE)
    assert scene.balancer.pick(CLIENT, 0.0) is scene.backends[1]
    scene.backends[0].set_admin(Admin.READY, 0.0, Origin.FILE)
    assert [scene.take().backend.id for _ in range(3)] == ["1", "2", "0"]


def test_a_rebuild_keeps_the_order_of_the_idle() -> None:
    scene = Scene(3)
    scene.take().release(Outcome(), 0.0)
    scene.balancer.rebuild(scene.backends, 0.0)
    assert [scene.take().backend.id for _ in range(3)] == ["1", "2", "0"]


def test_an_avoided_idle_backend_is_passed_over() -> None:
    scene = Scene(2)
    assert scene.balancer.pick(CLIENT, 0.0, [scene.backends[0]]) is scene.backends[1]
    assert scene.balancer.pick(CLIENT, 0.0, scene.backends) is None
