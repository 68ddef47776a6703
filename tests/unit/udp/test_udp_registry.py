"""All UDP sessions: who is asked when."""

import weakref

import pytest

from nginy.config.guard_settings import UdpSettings
from nginy.udp.sessions import HOLD_S, Sessions


class Rule:
    """What is asked of a rule."""

    def __init__(self, when_full: str = "evict_oldest", max_sessions: int = 100) -> None:
        self.udp = UdpSettings(when_full=when_full, max_sessions=max_sessions)
        self.protocol = "udp"
        self.name = "r"


class Registered:
    """A session that counts as `Session` does."""

    def __init__(self, sessions: Sessions, rule: Rule) -> None:
        self._sessions, self._table = sessions, sessions.of(rule)
        self._table.add(self, 0.0)
        sessions.live += 1

    def evict(self, now: float, *, at_once: bool = False) -> None:
        self._table.remove(self)
        self._sessions.live -= 1


def come(sessions: Sessions, rule: Rule, times: int) -> int:
    """How many of so many new sessions there was room for."""
    room = 0
    for _ in range(times):
        if sessions.make_room(rule, 0.0):
            Registered(sessions, rule)
            room += 1
    return room


@pytest.fixture
def ten() -> Sessions:
    """Of which ten may live."""
    sessions = Sessions(poller=None, wheel=None, ledger=None)
    sessions.most = 10
    return sessions


def test_all_rules_together_have_no_more_than_their_share(ten):
    flood = Rule()
    assert come(ten, flood, 50) == 50
    assert len(ten) == len(ten.of(flood)) == 10


def test_a_rule_has_its_part_although_another_took_all(ten):
    flood, small = Rule(), Rule()
    come(ten, flood, 50)
    come(ten, small, 3)
    come(ten, flood, 50)
    assert (len(ten.of(flood)), len(ten.of(small))) == (7, 3)
    come(ten, small, 50)
    assert (len(ten.of(flood)), len(ten.of(small))) == (5, 5)


def test_who_sheds_keeps_its_sessions_up_to_its_part(ten):
    sheds, other = Rule("shed"), Rule()
    assert come(ten, sheds, 50) == 10
    assert come(ten, other, 5) == 5
    assert come(ten, sheds, 5) == 0
    assert (len(ten.of(sheds)), len(ten.of(other))) == (5, 5)


@pytest.mark.parametrize(("max_sessions", "lines"), [(10, 0), (11, 1)])
def test_more_than_may_live_are_warned_of(ten, caplog, max_sessions, lines):
    ten.say_whether_enough([Rule(max_sessions=max_sessions)])
    assert len(caplog.records) == lines
    for text in ("11", "at most 10", "ulimit -n"):
        assert not lines or text in caplog.text


class Member:
    """A session that wants to be asked again `more` times."""

    def __init__(self, more: int) -> None:
        self.more = more
        self.asked_at: list[float] = []

    def settle(self, now: float) -> bool:
        self.asked_at.append(now)
        return len(self.asked_at) <= self.more


def test_a_session_settles_when_its_time_is_over_and_again_if_it_wants():
    registry = Sessions(poller=None, wheel=None, ledger=None)
    once, twice = Member(more=0), Member(more=1)
    registry.hold(once, 0.0)
    registry.hold(twice, 0.5)
    for tenths in range(50):
        registry.sweep(tenths / 10)
    assert once.asked_at == [HOLD_S]
    assert twice.asked_at == [0.5 + HOLD_S, 0.5 + 2 * HOLD_S]


def test_who_has_ended_is_neither_asked_nor_remembered():
    registry = Sessions(poller=None, wheel=None, ledger=None)
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
