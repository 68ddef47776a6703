"""What becomes of live connections, by policy and event, under a hand-set clock."""

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.wishes import Admin, Origin
from nginy.config.guard_settings import LiveSettings
from nginy.engine.timers import TimerWheel
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.live import BATCH, LiveConnections

TICK_S = 0.05


class Stub:
    """A live connection that, as real ones do, is discarded when it ends."""

    def __init__(self, lives: LiveConnections, backend: Backend) -> None:
        self._lives = lives
        self.backend = backend
        self.ended: list[CloseReason] = []
        self.rebound = 0
        lives.add(backend, self)

    def end(self, reason: CloseReason) -> None:
        self.ended.append(reason)
        self._lives.discard(self.backend, self)

    def rebind(self) -> None:
        self.rebound += 1
        self._lives.discard(self.backend, self)


def setting(**policy: object) -> tuple[LiveConnections, TimerWheel, Backend]:
    wheel = TimerWheel(TICK_S, 0.0)
    lives = LiveConnections(LiveSettings(**policy), wheel, lambda turn: turn(0.0))
    return lives, wheel, Backend("b1", Address("10.0.0.1", 80))


def is_unhealthy(backend: Backend) -> None:
    backend.set_healthy(False, 0.0)


def is_taken_down(backend: Backend) -> None:
    backend.set_admin(Admin.DOWN, 0.0, Origin.FILE)


def is_drained(backend: Backend) -> None:
    backend.set_admin(Admin.DRAIN, 0.0, Origin.FILE)


def weight_is_0(backend: Backend) -> None:
    backend.set_weight(0, 0.0, Origin.FILE)


def is_removed(backend: Backend) -> None:
    backend.remove(0.0)


EVENTS = {
    is_unhealthy: ("on_down", CloseReason.BACKEND_DOWN),
    is_taken_down: ("on_down", CloseReason.BACKEND_DOWN),
    is_drained: ("on_drain", CloseReason.BACKEND_DRAINED),
    weight_is_0: ("on_drain", CloseReason.BACKEND_DRAINED),
    is_removed: ("on_removed", CloseReason.BACKEND_REMOVED),
}
KEEP = {"on_down": "keep", "on_drain": "keep", "on_removed": "keep"}
by_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)


@by_event
def test_keep(event):
    lives, _, backend = setting(**KEEP)
    stub = Stub(lives, backend)
    event(backend)
    assert (stub.ended, stub.rebound) == ([], 0)


@by_event
def test_close(event):
    key, reason = EVENTS[event]
    lives, _, backend = setting(**KEEP | {key: "close"})
    stubs = [Stub(lives, backend) for _ in range(3)]
    event(backend)
    assert [stub.ended for stub in stubs] == [[reason]] * 3


@by_event
def test_rebind(event):
    key, _ = EVENTS[event]
    lives, _, backend = setting(**KEEP | {key: "rebind"})
    stub = Stub(lives, backend)
    event(backend)
    assert (stub.ended, stub.rebound) == ([], 1)


@by_event
def test_other_events_are_not_met(event):
    key, _ = EVENTS[event]
    others = {name: "close" for name in KEEP if name != key}
    lives, _, backend = setting(**KEEP | others)
    stub = Stub(lives, backend)
    event(backend)
    assert stub.ended == []


def test_other_backends_are_not_met():
    lives, _, backend = setting(on_down="close")
    stub = Stub(lives, Backend("b2", Address("10.0.0.2", 80)))
    Stub(lives, backend)
    is_unhealthy(backend)
    assert stub.ended == []


def test_neither_fullness_nor_a_penalty_is_an_event():
    lives, _, _ = setting(on_down="close", on_drain="close", on_removed="close")
    penalty = Penalty(max_fails=1)
    backend = Backend("b1", Address("10.0.0.1", 80), max_connections=1, penalty=penalty)
    stub = Stub(lives, backend)
    backend.opened(0.0)
    backend.failed(0.0)
    backend.set_max_connections(5, 0.0, Origin.FILE)
    assert stub.ended == []


def test_an_event_acts_once():
    lives, _, backend = setting(on_down="close")
    first = Stub(lives, backend)
    is_unhealthy(backend)
    later = Stub(lives, backend)  # `all_down: try_all` chooses it all the same
    is_taken_down(backend)
    backend.set_max_connections(5, 0.0, Origin.FILE)
    assert (len(first.ended), later.ended) == (1, [])
    backend.set_healthy(True, 1.0)
    backend.set_admin(Admin.READY, 1.0, Origin.FILE)
    is_unhealthy(backend)
    assert later.ended == [CloseReason.BACKEND_DOWN]


def test_drained_then_down_is_two_events():
    lives, _, backend = setting(on_down="close", on_drain="keep")
    stub = Stub(lives, backend)
    is_drained(backend)
    assert stub.ended == []
    is_unhealthy(backend)
    assert stub.ended == [CloseReason.BACKEND_DOWN]


@given(count=st.integers(1, 200), spread_s=st.floats(0.5, 100), step_s=st.floats(0.01, 5))
def test_spread_is_even_and_oldest_first(count, spread_s, step_s):
    lives, wheel, backend = setting(on_drain="close_spread", spread_s=spread_s)
    stubs = [Stub(lives, backend) for _ in range(count)]
    is_drained(backend)
    now = 0.0
    while now < spread_s + 2 * TICK_S + step_s:
        now += step_s
        wheel.advance(now)
        ended = [bool(stub.ended) for stub in stubs]
        assert ended == sorted(ended, reverse=True)
        due = min(1.0, now / spread_s) * count
        late = (TICK_S + 1e-9) / spread_s * count
        assert due - late - 1 <= sum(ended) <= due + 1e-6
    assert {tuple(stub.ended) for stub in stubs} == {(CloseReason.BACKEND_DRAINED,)}
    assert len(wheel) == 0


def test_a_backend_that_comes_back_stops_the_spread():
    lives, wheel, backend = setting(on_down="close_spread", spread_s=10.0)
    stubs = [Stub(lives, backend) for _ in range(10)]
    is_unhealthy(backend)
    wheel.advance(3.0)
    backend.set_healthy(True, 3.0)
    wheel.advance(100.0)
    assert sum(len(stub.ended) for stub in stubs) == 3
    assert len(wheel) == 0


def test_another_event_takes_the_place_of_a_spread():
    lives, wheel, backend = setting(on_drain="close_spread", on_down="close", spread_s=10.0)
    stubs = [Stub(lives, backend) for _ in range(10)]
    is_drained(backend)
    wheel.advance(3.0)
    is_unhealthy(backend)
    reasons = [reason for stub in stubs for reason in stub.ended]
    assert reasons == [CloseReason.BACKEND_DRAINED] * 3 + [CloseReason.BACKEND_DOWN] * 7
    assert len(wheel) == 0


def test_those_that_end_by_themselves_leave_nothing_behind():
    lives, wheel, backend = setting(on_drain="close_spread", spread_s=10.0)
    stubs = [Stub(lives, backend) for _ in range(5)]
    is_drained(backend)
    wheel.advance(2.0)
    for stub in stubs:
        lives.discard(backend, stub)
        lives.discard(backend, stub)
    assert len(wheel) == 0
    assert sum(len(stub.ended) for stub in stubs) == 1


@pytest.mark.parametrize("policy", ["keep", "close", "close_spread"])
def test_a_removed_backend_is_forgotten_once_nothing_lives_on_it(policy):
    lives, wheel, backend = setting(on_removed=policy, spread_s=1.0)
    stubs = [Stub(lives, backend) for _ in range(3)]
    is_removed(backend)
    wheel.advance(2.0)
    for stub in stubs:
        lives.discard(backend, stub)
    assert backend.watchers == []


@pytest.mark.parametrize("policy", ["close", "close_spread"])
def test_an_event_while_nothing_lives_does_not_meet_what_comes_later(policy):
    lives, wheel, backend = setting(on_down=policy, spread_s=1.0)
    lives.discard(backend, Stub(lives, backend))
    is_unhealthy(backend)
    later = Stub(lives, backend)
    backend.set_max_connections(5, 0.0, Origin.FILE)
    wheel.advance(2.0)
    assert later.ended == []
    assert len(wheel) == 0


def test_a_spread_is_over_with_its_last_connection():
    lives, wheel, backend = setting(on_drain="close_spread", spread_s=10.0)
    first, *others = [Stub(lives, backend) for _ in range(5)]
    is_drained(backend)
    for stub in others:
        lives.discard(backend, stub)
    wheel.advance(2.1)
    assert first.ended == [CloseReason.BACKEND_DRAINED]
    assert len(wheel) == 0


def test_who_cannot_leave_by_a_fault_of_nginy_is_ended_and_the_others_leave(caplog):
    class Faulty(Stub):
        def rebind(self) -> None:
            raise RuntimeError("a bug")

    lives, _, backend = setting(on_down="rebind")
    first, faulty, last = Stub(lives, backend), Faulty(lives, backend), Stub(lives, backend)
    is_unhealthy(backend)
    assert (first.rebound, last.rebound) == (1, 1)
    assert faulty.ended == [CloseReason.INTERNAL_ERROR]
    assert "a bug" in caplog.text


@pytest.mark.parametrize("what", ["close", "rebind"])
def test_many_leave_in_batches_the_oldest_first_and_who_comes_later_stays(what):
    turns: deque[Callable[[float], None]] = deque()
    lives = LiveConnections(LiveSettings(on_down=what), TimerWheel(TICK_S, 0.0), turns.append)
    backend = Backend("b1", Address("10.0.0.1", 80))
    stubs = [Stub(lives, backend) for _ in range(2 * BATCH + 1)]
    is_unhealthy(backend)
    assert sum(stub.rebound + len(stub.ended) for stub in stubs) == BATCH
    left = []
    while turns:
        assert len(turns) == 1
        turns.popleft()(0.0)
        gone = [stub.rebound + len(stub.ended) for stub in stubs]
        assert gone == sorted(gone, reverse=True)
        left.append(sum(gone))
        backend.set_healthy(True, 0.0)  # what has begun is finished
        late = Stub(lives, backend)
    assert left == [2 * BATCH, 2 * BATCH + 1]
    assert (late.ended, late.rebound) == ([], 0)
