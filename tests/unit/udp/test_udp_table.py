"""The table of UDP sessions, against a plain list of what happened."""

from hypothesis import given
from hypothesis import strategies as st

from nginy.udp.sessions import SessionTable

IDLE_S = 10.0

names = st.sampled_from("abcdefgh")
steps = st.lists(
    st.tuples(
        st.sampled_from(["touch", "answer", "remove", "sweep"]),
        names,
        st.floats(0.0, 8.0),  # seconds that pass before
    )
)


@given(steps)
def test_exactly_those_idle_too_long_expire_and_those_without_an_answer_go_first(steps):
    table: SessionTable[str] = SessionTable(IDLE_S, max_sessions=100)
    model: dict[str, float] = {}  # by last activity
    answered: set[str] = set()
    now = 0.0
    for what, name, passed in steps:
        now += passed
        if what == "touch" or (what == "answer" and name in model):
            if what == "answer":
                table.answered(name, now)
                answered.add(name)
            table.touch(name, now)
            model.pop(name, None)
            model[name] = now
        elif what == "remove":
            table.remove(name)
            model.pop(name, None)
        elif what == "sweep":
            expired = {each for each, at in model.items() if at + IDLE_S <= now}
            assert set(table.take_expired(now)) == expired
            model = {each: at for each, at in model.items() if each not in expired}
        answered &= set(model)
        in_order = sorted(model, key=answered.__contains__)  # stable
        assert len(table) == len(model)
        assert list(table) == in_order
        assert table.to_evict() == next(iter(in_order), None)
        assert table.to_evict(but=name) == next((x for x in in_order if x != name), None)


def test_an_answer_to_who_has_ended_adds_nobody():
    table: SessionTable[str] = SessionTable(IDLE_S, max_sessions=100)
    table.answered("a", 0.0)
    assert len(table) == 0


@given(st.integers(1, 5), st.lists(names))
def test_full_means_as_many_as_allowed(max_sessions, touched):
    table: SessionTable[str] = SessionTable(IDLE_S, max_sessions)
    for name in touched:
        if table.full and name not in table:
            victim = table.to_evict()
            assert victim is not None
            table.remove(victim)
        table.touch(name, 0.0)
        assert len(table) <= max_sessions
    assert table.full == (len(table) == max_sessions)


class Counted:
    """A session that counts how often it is looked at."""

    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return id(self)


def test_a_sweep_looks_at_the_expired_and_not_at_the_living():
    table: SessionTable[Counted] = SessionTable(IDLE_S, max_sessions=100_000)
    for number in range(10_000):
        table.touch(Counted(), now=float(number >= 10))
    Counted.looks = 0
    assert len(list(table.take_expired(IDLE_S))) == 10
    assert Counted.looks <= 10 * 10


def test_a_session_may_be_removed_while_others_expire():
    table: SessionTable[str] = SessionTable(IDLE_S, max_sessions=10)
    for name in "abc":
        table.touch(name, 0.0)
    expired = []
    for name in table.take_expired(IDLE_S):
        expired.append(name)
        table.remove("b")
    assert expired == ["a", "c"]
