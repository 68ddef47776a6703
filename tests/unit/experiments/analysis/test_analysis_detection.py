"""Time to detect, from records made by hand."""

import numpy as np
import pytest

from experiments.analysis.detection import choices, time_to_leave, time_to_return
from experiments.tables.schema import connections_frame


def every(step_s: float, begin_s: float, end_s: float) -> list[float]:
    return list(np.arange(begin_s, end_s, step_s))


def test_left_when_it_was_chosen_for_the_last_time() -> None:
    measured = time_to_leave(every(0.1, 0, 6.05), fault_s=5, end_s=20)
    assert measured.seconds == pytest.approx(1.0)


def test_left_at_once_if_nobody_chose_it_again() -> None:
    assert time_to_leave(every(0.1, 0, 5), fault_s=5, end_s=20).seconds == 0


@pytest.mark.parametrize(
    ("times_s", "end_s", "reason"),
    [
        (every(0.1, 0, 20), 20.0, "still chosen at the end"),
        (every(0.1, 0, 5), 5.5, "too rarely to tell"),  # 5.5 more were to be expected
        ([1.0, 3.0, 5.5], 10.0, "too rarely to tell"),
        (every(0.1, 6, 7), 20.0, "not chosen before"),
        ([], 20.0, "not chosen before"),
    ],
)
def test_silence_that_chance_may_explain_is_no_detection(
    times_s: list[float], end_s: float, reason: str
) -> None:
    measured = time_to_leave(times_s, fault_s=5, end_s=end_s)
    assert measured.seconds is None
    assert reason in measured.reason


def test_the_rate_is_that_since_the_fault_before() -> None:
    # Dead from 1 s to 4 s: 10 choices a second since then, not 3 on average.
    times_s = [*every(0.1, 0, 1), *every(0.1, 4, 5)]
    assert time_to_leave(times_s, 5, 5.8, begin_s=4).seconds == 0
    assert time_to_leave(times_s, 5, 5.8, begin_s=0).seconds is None


def test_back_when_it_is_chosen_again() -> None:
    assert time_to_return([1.0, 12.5, 13.0], 12, 20).seconds == pytest.approx(0.5)
    assert time_to_return([1.0, 25.0], 12, 20).seconds is None


def connection(opened_s: float, *tried: str) -> dict[str, object]:
    return {"id": 1, "opened_s": opened_s, "closed_s": opened_s, "backends_tried": list(tried)}


def test_failed_attempts_are_choices_too_and_connections_without_any_are_none() -> None:
    records = [connection(2.0, "b2", "b1"), connection(1.0), connection(0.5, "b3")]
    found = choices(connections_frame(records, 0.0))
    assert found["backend"].to_list() == ["b3", "b2", "b1"]
    assert found["t_s"].to_list() == [0.5, 2.0, 2.0]
