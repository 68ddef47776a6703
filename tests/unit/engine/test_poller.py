"""The poller: edges, turns, and descriptors that must not come back within a batch."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nginy.engine.poller import (
    AT_ONCE,
    CATCH_UP_S,
    DISPATCH_S,
    DUE_S,
    READABLE,
    SHORT_READS,
    WRITABLE,
    Poller,
)


class Loop:
    """The one method of an event loop that a poller uses."""

    def __init__(self) -> None:
        self.queue = []

    def call_soon(self, callback) -> None:
        self.queue.append(callback)

    def run(self) -> None:
        while self.queue:
            self.queue.pop(0)()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def poller(loop) -> Iterator[Poller]:
    poller = Poller(loop.call_soon)
    yield poller
    poller.shut()


@pytest.fixture
def pair():
    with ExitStack() as own:
        ends = socket.socketpair()
        for end in ends:
            own.enter_context(end)
            end.setblocking(False)
        yield ends


def test_an_edge_is_reported_once(poller, pair):
    near, far = pair
    events = []
    poller.watch(near, events.append)
    poller.dispatch()
    assert events == []
    far.send(b"x")
    poller.dispatch()
    poller.dispatch()
    assert len(events) == 1
    assert events[0] & READABLE
    far.close()
    poller.dispatch()
    assert len(events) == 2
    assert events[1] & SHORT_READS


def test_the_present_state_is_the_first_edge(poller, pair):
    near, far = pair
    far.send(b"x")
    events = []
    poller.watch(near, events.append)
    poller.dispatch()
    assert len(events) == 1


def test_want_write_reports_at_once_if_writable(poller, pair):
    events = []
    poller.watch(pair[0], events.append)
    poller.want_write(pair[0])
    poller.dispatch()
    assert [event & WRITABLE for event in events] == [WRITABLE]


def test_hand_over_and_unwatch(poller, pair):
    near, far = pair
    first, second = [], []
    poller.watch(near, first.append)
    poller.hand_over(near, second.append)
    far.send(b"x")
    poller.dispatch()
    assert (first, len(second)) == ([], 1)
    poller.unwatch(near)
    poller.unwatch(near)
    far.send(b"x")
    poller.dispatch()
    assert len(second) == 1
    assert poller.watched == 0


def test_a_closed_descriptor_is_not_reused_within_the_turn(poller):
    """Two sockets ready in one batch; the first handler closes the other and opens a third."""
    with ExitStack() as own:
        pairs = [socket.socketpair() for _ in range(2)]
        for end in (end for both in pairs for end in both):
            own.enter_context(end)
            end.setblocking(False)
        watched = [near for near, _ in pairs]
        numbers = {near.fileno() for near in watched}
        called, opened = [], []

        def close_the_other(me: socket.socket, other: socket.socket) -> None:
            called.append(me)
            poller.close(other)
            opened.append(own.enter_context(socket.socket()))

        for me, other in (watched, watched[::-1]):
            poller.watch(me, lambda _events, me=me, other=other: close_the_other(me, other))
        for _, far in pairs:
            far.send(b"x")
        poller.dispatch()
        assert len(called) == 1
        assert opened[0].fileno() not in numbers
        assert sorted(near.fileno() == -1 for near in watched) == [False, True]


def test_close_outside_a_turn_happens_in_the_next(poller, loop, pair):
    poller.watch(pair[0], lambda _events: None)
    poller.close(pair[0])
    assert poller.watched == 0
    loop.run()
    assert pair[0].fileno() == -1


def test_run_soon_lets_ready_sockets_go_first(poller, loop, pair):
    near, far = pair
    order = []
    poller.watch(near, lambda _events: order.append("socket"))
    poller.run_soon(lambda now: order.append("soon"))
    far.send(b"x")
    loop.run()
    assert order == ["socket", "soon"]


def test_however_many_turns_are_due_a_socket_waits_for_a_few_only(loop, pair):
    now, order = 0.0, []

    def slow_turn(_now: float) -> None:
        nonlocal now
        if not order:
            far.send(b"x")
        now += 0.0009
        order.append("turn")
        if order.count("turn") < 50:
            poller.run_soon(slow_turn)

    near, far = pair
    poller = Poller(loop.call_soon, lambda: now)
    try:
        poller.watch(near, lambda _events: order.append("socket"))
        for _ in range(100):
            poller.run_soon(slow_turn)
        held = []
        while loop.queue:
            before = now
            loop.queue.pop(0)()
            held.append(now - before)
        assert order.index("socket") <= DUE_S / 0.0009 + 1
        assert max(held) <= DISPATCH_S + DUE_S + 0.0009
        assert order.count("turn") == 149
    finally:
        poller.shut()


def test_a_listener_is_reported_as_long_as_connections_wait(poller):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        turns = []
        poller.watch_listener(listener, turns.append)
        with socket.create_connection(listener.getsockname()):
            poller.dispatch()
            before = len(turns)
            poller.dispatch()
            assert 0 < before < len(turns)


def test_a_fault_in_one_handler_costs_no_other_socket_its_event(poller, loop) -> None:
    with ExitStack() as own:
        pairs = [socket.socketpair() for _ in range(3)]
        for near, far in pairs:
            own.enter_context(near)
            own.enter_context(far)
            near.setblocking(False)
        seen = []

        def faulty(_events: int) -> None:
            seen.append("faulty")
            raise RuntimeError("a fault")

        poller.watch(pairs[0][0], lambda events: seen.append("first"))
        poller.watch(pairs[1][0], faulty)
        poller.watch(pairs[2][0], lambda events: seen.append("last"))
        for _, far in pairs:
            far.send(b"x")
        poller.dispatch()
        assert sorted(seen) == ["faulty", "first", "last"]
        for near, _ in pairs:
            poller.unwatch(near)


def test_a_fault_in_a_turn_costs_no_other_turn(poller, loop) -> None:
    seen = []

    def faulty(now: float) -> None:
        raise RuntimeError("a fault")

    poller.run_soon(faulty)
    poller.run_soon(lambda now: seen.append("next"))
    loop.run()
    assert seen == ["next"]


def test_who_wants_a_descriptor_is_called_once_after_the_next_close(loop, poller, pair):
    near, _far = pair
    called = []

    def freed() -> None:
        called.append(near.fileno())

    poller.when_descriptors_come_free(freed)
    poller.when_descriptors_come_free(freed)
    poller.dispatch()
    assert called == []
    poller.close(near)
    loop.run()
    assert called == [-1]
    other = socket.socket()
    poller.close(other)
    loop.run()
    assert called == [-1]


class Crowd:
    """Many sockets with an event each, the last one's connection an old one."""

    def __init__(self, own: ExitStack, count: int) -> None:
        self.now = 0.0
        self.cost_s = 0.0
        """Of every event."""
        self.heard: list[int] = []
        self.loop = Loop()
        self.poller = Poller(self.loop.call_soon, lambda: self.now)
        own.callback(self.poller.shut)
        self.near: list[socket.socket] = []
        for number in range(count):
            near, far = map(own.enter_context, socket.socketpair())
            far.send(b"x")
            self.near.append(near)
            self.poller.watch(near, lambda _mask, number=number: self._hear(number))
        self.poller.grown(self.near[-1])

    def _hear(self, number: int) -> None:
        self.now += self.cost_s
        self.heard.append(number)


def test_in_a_crowd_the_old_come_first_and_nobody_is_forgotten():
    with ExitStack() as own:
        crowd = Crowd(own, 100)
        crowd.cost_s = CATCH_UP_S / 4
        crowd.poller.dispatch()
        assert crowd.heard[: AT_ONCE + 1] == [*range(AT_ONCE), 99]
        assert crowd.poller.crowded
        crowd.loop.run()
        assert not crowd.poller.crowded
        assert crowd.heard == [*range(AT_ONCE), 99, *range(AT_ONCE, 99)]


def test_what_was_put_off_is_not_told_to_who_has_the_descriptor_next():
    with ExitStack() as own:
        crowd = Crowd(own, 100)
        crowd.cost_s = 1.0
        crowd.poller.dispatch()
        gone = crowd.near[98]
        number = gone.fileno()
        crowd.poller.close(gone)
        crowd.poller._close_closing()
        near, far = map(own.enter_context, socket.socketpair())
        assert number in (near.fileno(), far.fileno())
        crowd.poller.watch(near, lambda _mask: crowd.heard.append(1000))
        crowd.poller.watch(far, lambda _mask: crowd.heard.append(1000))
        crowd.loop.run()
        assert sorted(crowd.heard) == [*range(98), 99]
