import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.throughput import in_window, per_second, total
from experiments.tables.schema import empty_frame


def requests(*rows: tuple[float, float | None, str, int]) -> pd.DataFrame:
    """(first_byte_s, also the intended start; ended_s; status; bytes_received)"""
    columns = ["intended_s", "ended_s", "status", "bytes_received"]
    frame = pd.DataFrame(list(rows), columns=columns).assign(first_byte_s=[row[0] for row in rows])
    return frame.astype({"intended_s": float, "ended_s": float, "first_byte_s": float})


MIXED = requests(
    (0.5, 0.9, "ok", 1_000_000),  # before the window
    (1.0, 1.5, "ok", 1_000_000),
    (1.5, 2.5, "timeout", 250_000),
    (2.9, 3.1, "ok", 1_000_000),  # offered inside, done after
    (2.0, None, "in_flight", 0),
)


def test_hand_computed_totals() -> None:
    found = total(MIXED, (1.0, 3.0))
    assert found.offered_rps == 2.0
    assert found.completed_rps == 0.5
    assert found.goodput_mbps == pytest.approx((8 + 4) / 2), "of the last one half came inside"
    assert found.throughput_mbps == pytest.approx((8 + 2 + 4) / 2)


def test_hand_computed_seconds() -> None:
    table = per_second(MIXED, 4.0)
    assert table["t_s"].to_list() == [0, 1, 2, 3]
    assert table["offered_rps"].to_list() == [1, 2, 2, 0]
    assert table["completed_rps"].to_list() == [1, 1, 0, 1]
    assert table["goodput_mbps"].to_list() == pytest.approx([8, 8, 4, 4])
    assert table["throughput_mbps"].to_list() == pytest.approx([8, 8 + 1, 1 + 4, 4])


def test_a_long_response_is_spread_over_the_seconds_in_which_it_came() -> None:
    table = per_second(requests((0.5, 4.5, "ok", 1_000_000)), 5.0)
    assert table["throughput_mbps"].to_list() == pytest.approx([1, 2, 2, 2, 1])
    assert table["completed_rps"].to_list() == [0, 0, 0, 0, 1]


def test_what_came_at_once_counts_in_its_second() -> None:
    table = per_second(requests((1.0, 1.0, "ok", 1_000_000)), 2.0)
    assert table["throughput_mbps"].to_list() == pytest.approx([0, 8])


def test_nothing_was_sent_and_nothing_was_answered() -> None:
    empty = empty_frame("requests")
    assert total(empty, (0, 10)).goodput_mbps == 0
    assert per_second(empty, 3)["throughput_mbps"].to_list() == [0, 0, 0]
    failed = requests((0.5, None, "timeout", 0))
    assert total(failed, (0, 1)).completed_rps == 0
    assert total(failed, (0, 1)).offered_rps == 1


def test_an_empty_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        total(MIXED, (3.0, 3.0))


def test_the_interval_includes_its_begin_and_not_its_end() -> None:
    assert in_window(MIXED, (1.0, 2.0))["intended_s"].to_list() == [1.0, 1.5]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 9.99),
            st.floats(0, 9.99),
            st.sampled_from(["ok", "timeout"]),
            st.integers(0, 10_000),
        )
    )
)
def test_seconds_add_up_to_the_total_and_goodput_never_exceeds_throughput(
    rows: list[tuple[float, float, str, int]],
) -> None:
    frame = requests(*((min(row[:2]), max(row[:2]), *row[2:]) for row in rows))
    table, whole = per_second(frame, 10.0), total(frame, (0.0, 10.0))
    for name in ("offered_rps", "completed_rps", "throughput_mbps", "goodput_mbps"):
        assert table[name].mean() == pytest.approx(getattr(whole, name))
    assert (table["goodput_mbps"] <= table["throughput_mbps"] + 1e-12).all()
