"""What a latency is made of."""

import pandas as pd
import pytest

from experiments.analysis.validity import dependent
from experiments.analysis.where_time_goes import PARTS, latency_per_second, parts_ms, stack


def requests(**columns: object) -> pd.DataFrame:
    row = {
        "intended_s": 10.0,
        "connected_s": 10.02,
        "first_byte_s": 10.09,
        "ended_s": 10.10,
        "latency_ms": 100.0,
        "wait_ms": 12.0,
        "service_ms": 20.0,
        "status": "ok",
    }
    return pd.DataFrame([{**row, **columns}])


def test_parts_add_up_to_the_latency() -> None:
    parts = parts_ms(requests())
    assert parts.to_dict() == pytest.approx(dict(zip(PARTS, (20, 38, 12, 20, 10), strict=True)))
    assert parts.sum() == pytest.approx(100.0)


def test_on_a_connection_that_was_kept_nothing_is_spent_on_connecting() -> None:
    kept = parts_ms(requests(connected_s=3.0))
    assert kept["connecting"] == 0
    assert kept.sum() == pytest.approx(100.0)


def test_what_was_not_answered_has_no_parts() -> None:
    both = pd.concat([requests(), requests(status="timeout", latency_ms=5000.0, ended_s=15.0)])
    assert parts_ms(both).sum() == pytest.approx(100.0)
    assert list(stack({"a": both}).columns) == list(PARTS)


def test_latency_by_the_second_in_which_requests_began() -> None:
    frame = pd.concat(
        [requests(), requests(intended_s=10.5, latency_ms=300.0), requests(status="timeout")]
    )
    seconds = latency_per_second(frame, 12).set_index("t_s")
    assert seconds.loc[10, "p50_ms"] == 200.0
    assert seconds.loc[10, "unanswered_share"] == pytest.approx(1 / 3)
    assert seconds.loc[11].isna().all()
    assert len(seconds) == 12


def test_validity_that_depends_on_a_level_is_said() -> None:
    attempts = [({"algorithm": "a", "delay_ms": 5}, True)] * 10
    attempts += [({"algorithm": "a", "delay_ms": 50}, number < 2) for number in range(10)]
    (said,) = dependent(attempts)[:1]
    assert "delay_ms 5: 0 of 10 runs invalid, of the others 8 of 10" in said
    even = [({"algorithm": "a", "delay_ms": 5 * (n % 2)}, n % 5 > 0) for n in range(20)]
    assert dependent(even) == []
    assert dependent([]) == []
