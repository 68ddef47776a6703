"""First datagrams that wait: in order, a bounded time of each turn, bounded themselves."""

from collections.abc import Callable

import pytest

from nginy.traffic.ledger import Drop, Ledger
from nginy.udp.newcomers import (
    BEGIN_S,
    LONGEST_WAIT_S,
    MOST_WAITING,
    MOST_WAITING_BYTES,
    Newcomers,
)


class Turns:
    """The event loop's turns, and a clock that only serving moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[float], None]] = []
        self.served: list[bytes] = []
        self.cost_s = 0.26 * BEGIN_S
        self.ledger = Ledger()
        self.newcomers = Newcomers(self, self.ledger, lambda: self.now)

    def run_soon(self, callback: Callable[[float], None]) -> None:
        self.soon.append(callback)

    def serve(self, datagram: memoryview, now: float) -> None:
        self.served.append(bytes(datagram))
        self.now += self.cost_s

    def come(self, datagram: bytes, turn_s: float) -> None:
        if self.newcomers.may_begin(turn_s):
            self.serve(memoryview(datagram), turn_s)
        else:
            self.newcomers.wait(memoryview(datagram), self.serve, turn_s)

    def turn(self) -> int:
        """How many were served in it."""
        before, (callbacks, self.soon) = len(self.served), (self.soon, [])
        for callback in callbacks:
            callback(self.now)
        return len(self.served) - before


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_a_few_are_served_at_once(turns):
    for name in (b"a", b"b", b"c"):
        turns.come(name, turns.now)
    assert turns.served == [b"a", b"b", b"c"]
    assert not turns.soon


def test_a_turn_spends_a_bounded_time_and_the_others_follow_in_order(turns):
    names = [b"%d" % number for number in range(10)]
    began_s = turns.now
    for name in names:
        turns.come(name, began_s)
    assert turns.served == names[:4]
    assert len(turns.newcomers) == 6
    assert [turns.turn(), turns.turn(), turns.turn()] == [4, 2, 0]
    assert turns.served == names
    assert not turns.soon


def test_who_comes_while_others_wait_waits_behind_them(turns):
    began_s = turns.now
    for name in (b"1", b"2", b"3", b"4", b"5"):
        turns.come(name, began_s)
    turns.come(b"6", turns.now + 1)
    assert len(turns.newcomers) == 2
    turns.turn()
    assert turns.served[-2:] == [b"5", b"6"]


def test_the_next_turn_has_time_again(turns):
    for name in (b"1", b"2", b"3", b"4"):
        turns.come(name, 100.0)
    assert turns.newcomers.may_begin(turns.now)


def test_those_who_waited_too_long_are_dropped_and_counted(turns):
    turns.newcomers.wait(memoryview(b"old"), turns.serve, turns.now)
    turns.now += LONGEST_WAIT_S + 0.1
    turns.newcomers.wait(memoryview(b"new"), turns.serve, turns.now)
    turns.turn()
    assert turns.served == [b"new"]
    assert turns.ledger.dropped[Drop.OVERLOAD] == 1


@pytest.mark.parametrize(
    ("size", "room"), [(1, MOST_WAITING), (60_000, MOST_WAITING_BYTES // 60_000)]
)
def test_more_than_may_wait_are_dropped_and_counted(turns, size, room):
    for _ in range(room + 5):
        turns.newcomers.wait(memoryview(bytes(size)), turns.serve, turns.now)
    assert len(turns.newcomers) == room
    assert turns.ledger.dropped[Drop.OVERLOAD] == 5
    turns.turn()
    turns.newcomers.wait(memoryview(bytes(size)), turns.serve, turns.now)
    assert turns.ledger.dropped[Drop.OVERLOAD] == 5


def test_after_the_end_nobody_waits(turns):
    turns.newcomers.wait(memoryview(b"x"), turns.serve, turns.now)
    turns.newcomers.clear()
    assert turns.turn() == 0
    assert not turns.soon
    assert turns.ledger.dropped[Drop.OVERLOAD] == 1
