"""Speed on command: work time, and what it does to a queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hosts.backend.fifo_server import FifoServer
from experiments.hosts.backend.speed_clock import SpeedClock

changes = st.lists(st.tuples(st.floats(0.001, 50), st.floats(0.01, 100)), max_size=6)


def test_a_job_in_the_middle_of_its_service_is_slowed_for_what_remains() -> None:
    clock = SpeedClock()
    service = FifoServer(1, 1.0, 10).admit(clock.work(100.0), 0.010)
    assert service is not None
    clock.change(100.004, 0.25)
    assert clock.real(service.start_s) == 100.0
    assert clock.real(service.finish_s) == pytest.approx(100.004 + 0.006 / 0.25)


def test_without_a_change_both_times_are_the_same() -> None:
    clock = SpeedClock()
    assert (clock.work(1234.5), clock.real(1234.5), clock.factor) == (1234.5, 1234.5, 1.0)


@given(changes, st.floats(0, 400))
def test_there_and_back(steps: list[tuple[float, float]], later_s: float) -> None:
    clock, now_s = SpeedClock(), 0.0
    seen = []
    for gap_s, factor in steps:
        seen.append((now_s + gap_s / 2, clock.work(now_s + gap_s / 2)))
        now_s += gap_s
        clock.change(now_s, factor)
    seen.append((now_s + later_s, clock.work(now_s + later_s)))
    assert [work for _, work in seen] == sorted(work for _, work in seen)
    for real_s, work_s in seen:
        assert clock.real(work_s) == pytest.approx(real_s, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_no_such_speed(factor: float) -> None:
    with pytest.raises(ValueError, match="no such change"):
        SpeedClock().change(1.0, factor)
