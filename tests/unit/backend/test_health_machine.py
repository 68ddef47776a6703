"""The health machine: every state with every event, and what no sequence of results may do."""

from itertools import groupby, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.backend.health import TRANSITIONS, Health, HealthEvent, HealthState

EXPECTED = {
    HealthState.UNCHECKED: "up up down down suspended unchecked",
    HealthState.UP: "up up falling down suspended up",
    HealthState.FALLING: "up up falling down suspended falling",
    HealthState.DOWN: "rising up down down suspended down",
    HealthState.RISING: "rising up down down suspended rising",
    HealthState.SUSPENDED: "suspended suspended suspended suspended suspended unchecked",
}
"""By event in the order passed, rose, failed, fell, suspend, resume."""


@pytest.mark.parametrize(("state", "event"), list(product(HealthState, HealthEvent)))
def test_every_state_with_every_event(state: HealthState, event: HealthEvent) -> None:
    following = EXPECTED[state].split()[list(HealthEvent).index(event)]
    assert TRANSITIONS[state][event] is HealthState(following)


def test_the_table_has_nothing_else() -> None:
    assert {state: set(row) for state, row in TRANSITIONS.items()} == {
        state: set(HealthEvent) for state in HealthState
    }


@pytest.mark.parametrize("initially_up", [True, False])
@pytest.mark.parametrize("passed", [True, False])
def test_the_first_result_alone_decides(initially_up: bool, passed: bool) -> None:
    health = Health(rise=5, fall=5, initially_up=initially_up)
    assert health.up is initially_up
    health.checked(passed)
    assert health.up is passed


def test_fall_and_rise_are_counted_in_a_row() -> None:
    health = Health(rise=2, fall=3)
    seen = []
    for passed in [True, False, False, True, False, False, False, True, False, True, True]:
        health.checked(passed)
        seen.append(health.up)
    assert seen == [True] * 6 + [False] * 4 + [True]


@pytest.mark.parametrize("was_up", [True, False])
@pytest.mark.parametrize("passes", [True, False])
def test_after_a_suspension_the_first_result_alone_decides(was_up: bool, passes: bool) -> None:
    health = Health(rise=2, fall=2)
    for _ in range(2):
        health.checked(was_up)
    health.suspend()
    for _ in range(5):
        health.checked(not was_up)
    assert health.up is was_up, "until then it is what checks called it before"
    health.resume()
    assert health.up is was_up
    health.checked(passes)
    assert health.up is passes


def test_an_agents_up_does_not_revive_what_checks_called_down_before_a_suspension() -> None:
    health = Health(rise=1, fall=1)
    health.checked(False)
    for verb in (health.suspend, health.resume):
        verb()
        health.agent_up = True
        assert not health.up


def test_resume_without_suspension_keeps_the_row() -> None:
    health = Health(rise=1, fall=2)
    health.checked(True)
    health.checked(False)
    health.resume()
    health.checked(False)
    assert not health.up


def test_an_agent_that_says_down_outweighs_passing_checks() -> None:
    health = Health(rise=1, fall=1)
    health.checked(True)
    health.agent_up = False
    health.checked(True)
    assert not health.up
    health.agent_up = True
    assert health.up


counts = st.integers(1, 5)


@given(rise=counts, fall=counts, up=st.booleans(), results=st.lists(st.booleans(), max_size=40))
def test_it_changes_only_after_enough_equal_results_in_a_row(
    rise: int, fall: int, up: bool, results: list[bool]
) -> None:
    health = Health(rise, fall, up)
    row, last = 0, None
    for number, passed in enumerate(results):
        before = health.up
        health.checked(passed)
        row, last = (row + 1 if passed is last else 1), passed
        if number == 0:
            assert health.up is passed
        elif health.up is not before:
            assert passed is health.up
            assert row >= (rise if passed else fall)
        else:
            assert passed is before or row < (rise if passed else fall)


@given(
    rise=st.integers(2, 5),
    fall=st.integers(2, 5),
    settled=st.booleans(),
    length=st.integers(1, 50),
)
def test_alternating_results_never_change_it(
    rise: int, fall: int, settled: bool, length: int
) -> None:
    health = Health(rise, fall)
    health.checked(settled)
    verdicts = []
    for number in range(length):
        health.checked(settled if number % 2 else not settled)
        verdicts.append(health.up)
    assert [verdict for verdict, _ in groupby(verdicts)] == [settled]


@given(
    events=st.lists(st.sampled_from(["pass", "fail", "suspend", "resume"]), max_size=60),
    rise=counts,
    fall=counts,
)
def test_whatever_happened_it_can_rise_and_fall(events: list[str], rise: int, fall: int) -> None:
    health = Health(rise, fall)
    verbs = {"suspend": health.suspend, "resume": health.resume}
    for event in events:
        if event in verbs:
            verbs[event]()
        else:
            health.checked(event == "pass")
    health.resume()
    for passed, enough in ((True, rise), (False, fall), (True, rise)):
        for _ in range(enough):
            health.checked(passed)
        assert health.up is passed
