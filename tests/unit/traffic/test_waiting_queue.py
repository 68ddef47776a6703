"""The queue: order, bounds, who is woken, under a hand-set clock and a real algorithm."""

import random
from collections import deque
from collections.abc import Callable, Collection, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.registry import make_balancer
from nginy.config.guard_settings import QueueSettings
from nginy.config.strategies import LeastConnSettings
from nginy.engine.timers import TimerWheel
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.queue import Picker, WaitingQueue

CLIENT = Address("10.9.0.1", 1000)
TICK_S = 0.05
PATIENCE_S = 5.0


class Sleeper:
    """What waits; takes its place as a connection does."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        self.error: Exception | None = None

    def resume(self, value: object) -> None:
        assert isinstance(value, Backend)
        self.backend = value
        value.opened(0.0)

    def throw(self, error: Exception) -> None:
        self.error = error

    @property
    def waits(self) -> bool:
        return self.backend is None and self.error is None


class Setting:
    def __init__(self, *limits: int, max_waiting: int = 100) -> None:
        self.backends = [
            Backend(f"b{number}", Address("10.0.0.1", number), max_connections=limit)
            for number, limit in enumerate(limits, 1)
        ]
        balancer = make_balancer(LeastConnSettings(type="least_conn"), random.Random(1))
        balancer.rebuild(self.backends, 0.0)
        self.wheel = TimerWheel(TICK_S, 0.0)
        self.soon: deque[Callable[[float], None]] = deque()
        self.queue = WaitingQueue(
            QueueSettings(max_waiting=max_waiting, timeout_ms=int(PATIENCE_S * 1e3)),
            balancer,
            lambda: self.backends,
            self.wheel,
            self.soon.append,
        )
        self.balancer = balancer
        balancer.tell(self.queue)

    def fill(self) -> None:
        for backend in self.backends:
            while not backend.full:
                backend.opened(0.0)

    def join(self, now: float = 0.0, avoid: tuple[Backend, ...] = ()) -> Sleeper:
        sleeper = Sleeper()
        self.queue.join(sleeper, CLIENT, avoid, now)
        return sleeper

    def settle(self) -> None:
        """What the poller does after its events."""
        for _ in range(1000):
            if not self.soon:
                return
            self.soon.popleft()(0.0)
        raise AssertionError("it never comes to rest")


def test_a_place_that_gets_free_goes_to_the_first():
    setting = Setting(1)
    setting.fill()
    first, second = setting.join(), setting.join()
    setting.backends[0].released(1.0)
    assert first.waits  # not within the release
    setting.settle()
    assert first.backend is setting.backends[0]
    assert second.waits
    setting.backends[0].released(2.0)
    setting.settle()
    assert second.backend is setting.backends[0]
    assert len(setting.queue) == 0


def test_as_many_are_woken_as_there_is_room():
    setting = Setting(5, max_waiting=200)
    setting.fill()
    waiting = [setting.join() for _ in range(200)]
    for _ in range(3):
        setting.backends[0].released(1.0)
    setting.settle()
    assert [sleeper.waits for sleeper in waiting] == [False] * 3 + [True] * 197


def test_a_raised_limit_lets_in_more_than_one_wake_looks_at():
    setting = Setting(1, max_waiting=1000)
    setting.fill()
    waiting = [setting.join() for _ in range(300)]
    setting.backends[0].set_max_connections(201, 1.0, Origin.FILE)
    setting.settle()
    assert [sleeper.waits for sleeper in waiting] == [False] * 200 + [True] * 100


def test_full_queue_refuses():
    setting = Setting(1, max_waiting=2)
    setting.fill()
    waiting = [setting.join(), setting.join()]
    with pytest.raises(ConnectionEnd) as refused:
        setting.join()
    assert refused.value.reason is CloseReason.QUEUE_FULL
    assert all(sleeper.waits for sleeper in waiting)


def test_patience_ends():
    setting = Setting(1)
    setting.fill()
    early = setting.join(0.0)
    late = setting.join(2.0)
    setting.wheel.advance(PATIENCE_S - 0.01)
    assert early.waits
    setting.wheel.advance(PATIENCE_S + 2 * TICK_S)
    assert isinstance(early.error, ConnectionEnd)
    assert early.error.reason is CloseReason.QUEUE_TIMEOUT
    assert late.waits
    setting.wheel.advance(2 + PATIENCE_S + 2 * TICK_S)
    assert late.error is not None
    assert len(setting.wheel) == 0


def test_who_leaves_frees_the_place():
    setting = Setting(1, max_waiting=1)
    setting.fill()
    waiter = setting.queue.join(Sleeper(), CLIENT, (), 0.0)
    setting.queue.leave(waiter)
    setting.queue.leave(waiter)
    assert (len(setting.queue), len(setting.wheel)) == (0, 0)
    assert setting.join().waits


def test_who_has_tried_the_free_backend_lets_others_pass():
    setting = Setting(1, 1)
    b1, b2 = setting.backends
    setting.fill()
    choosy, easy = setting.join(avoid=(b1,)), setting.join()
    b1.released(1.0)
    setting.settle()
    assert choosy.waits
    assert easy.backend is b1
    b2.released(2.0)
    setting.settle()
    assert choosy.backend is b2


def test_what_no_event_tells_of_is_noticed_at_the_next_tick():
    setting = Setting(1)
    backend = setting.backends[0]
    setting.fill()
    sleeper = setting.join(0.0)
    backend.released(1.0)
    setting.soon.clear()  # as if another process had had the place
    setting.wheel.advance(0.2)
    assert sleeper.backend is backend


def test_nobody_is_asked_of_many_backends_when_the_first_one_waits_and_leaves():
    setting = Setting(*[1] * 100)
    setting.fill()
    asked = 0

    def members() -> Iterator[Backend]:
        nonlocal asked
        for backend in setting.backends:
            asked += 1
            yield backend

    setting.queue._members = members
    watchers = [list(backend.watchers) for backend in setting.backends]
    for _ in range(10):
        assert setting.queue.worth_waiting(())
        setting.queue.leave(setting.queue.join(Sleeper(), CLIENT, (), 0.0))
    sleeper = setting.join()
    assert [list(backend.watchers) for backend in setting.backends] == watchers
    assert asked == 10
    setting.backends[77].released(1.0)
    setting.settle()
    assert sleeper.backend is setting.backends[77]


def test_who_comes_back_while_nobody_waits_wakes_nobody():
    setting = Setting(1)
    setting.fill()
    setting.backends[0].released(1.0)
    assert not setting.soon


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        (lambda backend: None, True),
        (lambda backend: backend.set_healthy(False, 0.0), False),
        (lambda backend: backend.set_admin(Admin.DOWN, 0.0, Origin.FILE), False),
        (lambda backend: backend.set_admin(Admin.DRAIN, 0.0, Origin.FILE), False),
        (lambda backend: backend.remove(0.0), False),
    ],
)
def test_waiting_is_worth_it_only_for_a_backend_that_is_up(change, worth):
    setting = Setting(1)
    setting.fill()
    change(setting.backends[0])
    assert setting.queue.worth_waiting(()) is worth
    assert not setting.queue.worth_waiting(setting.backends)


@given(
    steps=st.lists(st.sampled_from(["join", "release", "leave", "down", "up"]), max_size=100),
    limits=st.lists(st.integers(1, 3), min_size=1, max_size=3),
)
def test_first_come_first_served_and_never_over_a_limit(steps, limits):
    setting = Setting(*limits)
    setting.fill()
    queued: list[Sleeper] = []
    left: set[Sleeper] = set()
    for step in steps:
        busy = [backend for backend in setting.backends if backend.active]
        if step == "join":
            queued.append(setting.join())
        elif step == "release" and busy:
            busy[0].released(0.0)
        elif step == "leave" and len(setting.queue):
            waiter = next(iter(setting.queue._waiters))
            setting.queue.leave(waiter)
            left.add(waiter.sleeper)
        elif step in ("down", "up"):
            setting.backends[0].set_healthy(step == "up", 0.0)
        setting.settle()
        assert all(backend.active <= backend.max_connections for backend in setting.backends)
        served = [sleeper.backend is not None for sleeper in queued if sleeper not in left]
        assert served == sorted(served, reverse=True)
        assert len(setting.queue) == len(served) - sum(served)


class Faulty:
    """Picks as a rule does, but raises for the first waiter that it is asked about."""

    def __init__(self, picker: Picker) -> None:
        self._picker = picker
        self._asked = False

    def pick(self, client: Address, now: float, avoid: Collection[Backend], /) -> Backend | None:
        if not self._asked:
            self._asked = True
            raise RuntimeError("a bug")
        return self._picker.pick(client, now, avoid)


@pytest.mark.parametrize("woken_by", ["an event", "the tick"])
def test_a_fault_in_a_pick_costs_one_waiter_and_the_queue_goes_on(woken_by):
    setting = Setting(1)
    setting.fill()
    setting.queue._picker = Faulty(setting.queue._picker)
    first, second, third = (setting.join() for _ in range(3))
    if woken_by == "an event":
        setting.backends[0].released(0.0)
        setting.settle()
    else:
        setting.wheel.advance(2 * TICK_S)
        setting.backends[0].released(0.0)
        setting.settle()
    assert isinstance(first.error, RuntimeError)
    assert second.backend is setting.backends[0]
    assert third.waits
    setting.wheel.advance(PATIENCE_S + 2 * TICK_S)
    assert isinstance(third.error, ConnectionEnd)
    assert len(setting.wheel) == 0
