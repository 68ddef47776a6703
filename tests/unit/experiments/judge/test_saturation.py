"""Who was at the limit of a core."""

import pandas as pd
import pytest

from experiments.judge.saturation import BusySecond, busiest_seconds, saturated
from experiments.judge.verdict import priority_check, saturation_check


def cpu(source: str, *totals_s: float, every_s: float = 1.0) -> pd.DataFrame:
    times_s = [every_s * number for number in range(len(totals_s))]
    columns = {"t_s": times_s, "source": source, "quantity": "cpu_s", "value": totals_s}
    return pd.DataFrame(columns)


def test_one_busy_second_is_not_hidden_by_the_others() -> None:
    busiest = busiest_seconds(cpu("lb", 0.0, 0.1, 0.2, 1.17, 1.2, 1.3), (0, 10))
    assert busiest["lb"] == (pytest.approx(0.97), 3.0)
    assert str(busiest["lb"]) == "97 % of a core at 3 s"


def test_a_program_that_was_started_again_has_used_nothing_negative() -> None:
    assert busiest_seconds(cpu("b1", 5.0, 0.1, 0.3), (0, 10))["b1"].share == pytest.approx(0.2)


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    assert "lb" not in busiest_seconds(cpu("lb", 0.0, 1.0), (5, 10))


@pytest.mark.parametrize(("who", "ok"), [("lb", True), ("c1", False), ("links", False)])
def test_a_saturated_balancer_is_a_result_and_anything_else_a_fault(who: str, ok: bool) -> None:
    busiest = {"lb": BusySecond(0.1, 3.0), "c1": BusySecond(0.1, 3.0), who: BusySecond(0.95, 4.0)}
    assert list(saturated(busiest)) == [who]
    assert saturation_check(busiest, "lb").ok is ok


def test_priority_that_was_not_granted_is_said_and_refuses_precision_work() -> None:
    got = {"c1": True, "b1": False}
    assert "b1" in priority_check(got, strict=False).detail
    assert priority_check(got, strict=False).ok
    assert not priority_check(got, strict=True).ok
