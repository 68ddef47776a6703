"""The admission of a rule: every reason to refuse, and that a refusal counts nothing."""

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.config.guard_settings import AccessSettings, LimitSettings
from nginy.traffic.admission import Admission, Census
from nginy.traffic.close_reason import CloseReason


def door(census: Census | None = None, access: tuple = (), **limits: object) -> Admission:
    return Admission(access, LimitSettings(**limits), census or Census(0))


def client(number: int) -> Address:
    return Address(f"10.0.0.{number}", 1000)


def test_no_settings_no_limits():
    census = Census(0)
    unguarded = door(census)
    assert {unguarded.enter(client(1), 0.0) for _ in range(1000)} == {None}
    assert census.open == unguarded.open == 1000


def test_cap_of_the_process_holds_over_all_rules():
    census = Census(3)
    doors = [door(census), door(census)]
    assert [each.enter(client(1), 0.0) for each in doors * 2] == [
        None, None, None, CloseReason.TOO_MANY_CONNECTIONS
    ]  # fmt: skip
    doors[0].leave(client(1), 0.0)
    assert doors[1].enter(client(1), 0.0) is None


def test_cap_of_the_rule():
    limited = door(max_connections=2)
    assert [limited.enter(client(number), 0.0) for number in (1, 2, 3)] == [
        None, None, CloseReason.RULE_FULL
    ]  # fmt: skip


def test_denied_clients_take_no_part():
    denying = door(
        access=(AccessSettings(deny="10.0.0.1"),), max_connections=1, max_connections_per_source=1
    )
    assert denying.enter(client(1), 0.0) is CloseReason.DENIED
    assert denying.enter(client(2), 0.0) is None


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0, 0.5)), max_size=100),
    process=st.integers(0, 4),
    rule=st.integers(0, 4),
    per_source=st.integers(0, 2),
    rate=st.sampled_from([0.0, 1.0]),
)
def test_counts_are_exact_and_return_to_zero(steps, process, rule, per_source, rate):
    census = Census(process)
    limited = door(
        census,
        (AccessSettings(deny="10.0.0.3"),),
        max_connections=rule,
        max_connections_per_source=per_source,
        new_per_s_per_source=rate,
        burst_per_source=1,
    )
    inside: list[Address] = []
    now = 0.0
    for enters, number, pause in steps:
        now += pause
        if enters:
            if limited.enter(client(number), now) is None:
                inside.append(client(number))
        elif inside:
            limited.leave(inside.pop(number % len(inside)), now)
        assert census.open == limited.open == len(inside)
        assert not (process and len(inside) > process)
        assert not (rule and len(inside) > rule)
        if per_source:
            assert all(inside.count(each) <= per_source for each in inside)
    for each in inside:
        limited.leave(each, now)
    assert census.open == limited.open == 0
