"""Lost, late, double and reordered are told apart."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.datagrams import (
    DatagramCounts,
    count,
    datagrams_per_second,
    per_flow,
    reordering,
)
from experiments.tables.schema import empty_frame


def request(seq: int, **fields: object) -> dict[str, object]:
    """Sent at seq/10 s on one flow, served at once, answered 20 ms later."""
    sent_s = seq / 10
    return {
        "client": "c1",
        "local": "10.0.0.1:4000",
        "connected_s": 0.0,
        "backend": "b1",
        "seq": seq,
        "intended_s": sent_s,
        "sent_s": sent_s,
        "status": "ok",
        "copies": 1,
        "received_s": sent_s + 0.005,
        "answered_s": sent_s + 0.015,
        "first_byte_s": sent_s + 0.020,
        "late_s": float("nan"),
        **fields,
    }


def frame(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


UNANSWERED = {
    "status": "timeout",
    "copies": 0,
    "backend": "b1",
    "received_s": float("nan"),
    "answered_s": float("nan"),
    "first_byte_s": float("nan"),
}
LATE = {"status": "timeout", "first_byte_s": float("nan"), "late_s": 9.0, "answered_s": 8.9}


def test_an_answer_after_the_timeout_is_late_and_not_lost() -> None:
    counts = count(frame(request(0), request(1, **LATE), request(2, **UNANSWERED)))
    assert (counts.requests, counts.lost, counts.late) == (3, 1, 1)
    assert counts.lost_share == pytest.approx(1 / 3)


def test_further_copies_count_each() -> None:
    assert count(frame(request(0, copies=3), request(1))).duplicates == 2


def test_each_direction_by_itself() -> None:
    overtaken_up = request(0, received_s=0.5, answered_s=0.51, first_byte_s=0.52)
    assert (count(frame(overtaken_up, request(1))).reordered_up) == 1
    assert (count(frame(overtaken_up, request(1))).reordered_down) == 0
    overtaken_down = request(0, first_byte_s=0.6)
    assert count(frame(overtaken_down, request(1))).reordered_down == 1
    assert count(frame(overtaken_down, request(1))).reordered_up == 0


def test_a_short_job_that_is_answered_first_is_no_reordering() -> None:
    slow = request(0, answered_s=0.9, first_byte_s=0.905)
    counts = count(frame(slow, request(1)))
    assert (counts.reordered_up, counts.reordered_down) == (0, 0)


@pytest.mark.parametrize("other", [{"local": "10.0.0.1:5000"}, {"backend": "b2"}])
def test_only_within_a_flow_to_one_backend(other: dict[str, object]) -> None:
    overtaken = request(0, received_s=0.5, first_byte_s=0.9, **other)
    counts = count(frame(overtaken, request(1)))
    assert (counts.reordered_up, counts.reordered_down) == (0, 0)


@given(st.permutations(range(6)))
def test_reordered_is_who_arrives_after_one_sent_later(order: list[int]) -> None:
    rows = [request(seq, first_byte_s=10.0 + place) for place, seq in enumerate(order)]
    found = reordering(frame(*rows))["down"]
    for row, late in zip(rows, found, strict=True):
        expected = any(
            other["seq"] > row["seq"] and other["first_byte_s"] < row["first_byte_s"]
            for other in rows
        )
        assert bool(late) is expected


def test_by_second_and_by_flow() -> None:
    rows = frame(
        request(0),
        request(12, **UNANSWERED),
        request(14, copies=2, local="10.0.0.1:5000"),
        request(15, **LATE),
    )
    seconds = datagrams_per_second(rows, 3.0)
    assert seconds["lost"].to_list() == [0, 1, 0]
    assert seconds["late"].to_list() == [0, 1, 0]
    assert seconds["duplicates"].to_list() == [0, 1, 0]
    flows = per_flow(rows).set_index("local")
    assert flows.loc["10.0.0.1:4000", ["requests", "lost", "late"]].to_list() == [3, 1, 1]
    assert flows.loc["10.0.0.1:5000", ["requests", "duplicates"]].to_list() == [1, 1]


def test_of_nothing_there_is_nothing() -> None:
    none = empty_frame("requests")
    assert count(none) == DatagramCounts(0, 0, 0, 0, 0, 0)
    assert len(per_flow(none)) == 0
    assert datagrams_per_second(none, 2.0)["lost"].to_list() == [0, 0]
