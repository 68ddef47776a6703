"""All UDP sessions: who is asked when."""

import weakref

from nginy.udp.sessions import HOLD_S, Sessions


class Member:
    """A session that wants to be asked again `more` times."""

    def __init__(self, more: int) -> None:
        self.more = more
        self.asked_at: list[float] = []

    def settle(self, now: float) -> bool:
        self.asked_at.append(now)
        return len(self.asked_at) <= self.more


def test_a_session_settles_when_its_time_is_over_and_again_if_it_wants():
    registry = Sessions(poller=None, ledger=None)
    once, twice = Member(more=0), Member(more=1)
    registry.hold(once, 0.0)
    registry.hold(twice, 0.5)
    for tenths in range(50):
        registry.sweep(tenths / 10)
    assert once.asked_at == [HOLD_S]
    assert twice.asked_at == [0.5 + HOLD_S, 0.5 + 2 * HOLD_S]


def test_who_has_ended_is_neither_asked_nor_remembered():
    registry = Sessions(poller=None, ledger=None)
    ended, other = Member(more=0), Member(more=0)
    registry.hold(ended, 0.0)
    registry.hold(other, 0.0)
    registry.release(ended)
    registry.release(ended)
    remembered = weakref.ref(ended)
    del ended
    assert remembered() is None
    registry.sweep(HOLD_S)
    assert other.asked_at == [HOLD_S]
