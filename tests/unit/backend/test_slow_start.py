"""The ramp of new and recovered backends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.backend.slow_start import SlowStart


def test_no_ramp_by_default_nor_before_it_began() -> None:
    slow_start = SlowStart()
    slow_start.begin(5.0)
    assert slow_start.fraction(5.0) == 1.0
    assert SlowStart(30.0).fraction(0.0) == 1.0


def test_linear_from_the_floor_to_1() -> None:
    slow_start = SlowStart(10.0, floor=0.2)
    slow_start.begin(100.0)
    fractions = [slow_start.fraction(100.0 + t) for t in (0.0, 2.5, 5.0, 10.0, 99.0)]
    assert fractions == pytest.approx([0.2, 0.4, 0.6, 1.0, 1.0])
    assert [slow_start.ramping(now) for now in (109.9, 110.0)] == [True, False]


@given(
    duration=st.floats(0.0, 1e4),
    floor=st.floats(0.01, 1.0),
    times=st.lists(st.floats(0.0, 2e4), min_size=2),
)
def test_never_below_the_floor_and_never_falling(
    duration: float, floor: float, times: list[float]
) -> None:
    slow_start = SlowStart(duration, floor)
    slow_start.begin(0.0)
    fractions = [slow_start.fraction(now) for now in sorted(times)]
    assert all(floor <= fraction <= 1.0 + 1e-9 for fraction in fractions)
    assert fractions == sorted(fractions)
