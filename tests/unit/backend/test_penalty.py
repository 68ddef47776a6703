"""Passive failure detection: nginx's max_fails and fail_timeout, Envoy's growing back-off."""

from hypothesis import given
from hypothesis import strategies as st

from nginy.backend.penalty import NEVER, Penalty


def attempt(penalty: Penalty, now: float, *, ok: bool) -> None:
    penalty.tried(now)
    if ok:
        penalty.succeeded()
    else:
        penalty.failed(now)


def test_off_by_default() -> None:
    penalty = Penalty()
    for now in range(100):
        attempt(penalty, now, ok=False)
        assert not penalty.holds(now)
    assert penalty.ends_at == NEVER


def test_left_alone_for_fail_timeout_after_max_fails() -> None:
    penalty = Penalty(max_fails=2, fail_timeout_s=10.0)
    attempt(penalty, 0.0, ok=False)
    assert not penalty.holds(0.0)
    attempt(penalty, 3.0, ok=False)
    assert penalty.holds(3.0)
    assert penalty.holds(13.0)
    assert not penalty.holds(13.1)


def test_the_trial_keeps_others_away_until_it_has_succeeded() -> None:
    penalty = Penalty(max_fails=1, fail_timeout_s=10.0)
    attempt(penalty, 0.0, ok=False)
    assert penalty.tried(20.0)
    assert penalty.holds(20.1)
    assert penalty.succeeded()
    assert not penalty.holds(20.1)


def test_one_failure_after_the_penalty_puts_it_back() -> None:
    penalty = Penalty(max_fails=3, fail_timeout_s=10.0)
    for now in (0.0, 1.0, 2.0):
        attempt(penalty, now, ok=False)
    attempt(penalty, 20.0, ok=False)
    assert penalty.holds(29.9)
    assert not penalty.holds(30.1)


def test_one_success_after_the_penalty_clears_the_count() -> None:
    penalty = Penalty(max_fails=2, fail_timeout_s=10.0)
    attempt(penalty, 0.0, ok=False)
    attempt(penalty, 0.0, ok=False)
    attempt(penalty, 10.5, ok=True)
    attempt(penalty, 11.0, ok=False)
    assert not penalty.holds(11.0)
    attempt(penalty, 11.5, ok=False)
    assert penalty.holds(11.5)


def test_a_success_soon_after_a_failure_does_not_clear_the_count() -> None:
    """Only a trial after fail_timeout does: a backend that fails every other time is found."""
    penalty = Penalty(max_fails=2, fail_timeout_s=10.0)
    attempt(penalty, 0.0, ok=False)
    attempt(penalty, 1.0, ok=True)
    attempt(penalty, 2.0, ok=False)
    assert penalty.holds(2.0)


def test_failing_trials_double_the_penalty_up_to_the_cap_and_a_success_resets_it() -> None:
    penalty = Penalty(max_fails=1, fail_timeout_s=10.0, fail_timeout_max_s=35.0)
    now, lasted = 0.0, []
    for _ in range(4):
        attempt(penalty, now, ok=False)
        lasted.append(penalty.ends_at - now)
        now = penalty.ends_at + 1.0
    assert lasted == [10.0, 20.0, 35.0, 35.0]
    attempt(penalty, now, ok=True)
    attempt(penalty, now + 1.0, ok=False)
    assert penalty.ends_at == now + 11.0


def test_a_burst_of_failures_is_one_penalty() -> None:
    penalty = Penalty(max_fails=1, fail_timeout_s=10.0, fail_timeout_max_s=1000.0)
    for _ in range(5):
        penalty.failed(0.0)
    assert penalty.timeout_s == 10.0


@given(
    max_fails=st.integers(0, 3),
    steps=st.lists(st.tuples(st.floats(0.0, 8.0), st.booleans()), max_size=40),
)
def test_it_holds_exactly_until_its_end(max_fails: int, steps: list[tuple[float, bool]]) -> None:
    penalty = Penalty(max_fails, fail_timeout_s=5.0, fail_timeout_max_s=40.0)
    now = 0.0
    for passed, ok in steps:
        now += passed
        if not penalty.holds(now):
            attempt(penalty, now, ok=ok)
        assert penalty.holds(now) == (now <= penalty.ends_at)
        assert penalty.ends_at <= now + 40.0
        assert not penalty.holds(max(now, penalty.ends_at) + 0.001)
