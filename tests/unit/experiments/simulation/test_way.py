"""How long messages take."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.simulation.events import Events
from experiments.simulation.way import Leg, Way, answer_s, waits_for_windows
from topologies.shapes.shape import LinkSpec


def leg(**values: float) -> Leg:
    return Leg([LinkSpec(**values)], random.Random(1))


def way(**values: float) -> Way:
    return Way(leg(**values), leg(**values))


def test_a_handshake_takes_a_round_trip_and_a_second_more_if_lost() -> None:
    assert way(delay_ms=10).handshake(5.0) == pytest.approx(5.02)
    lossy = way(delay_ms=10, loss_pct=50)
    extra = {round(lossy.handshake(0.0) - 0.02, 6) for _ in range(200)}
    assert {0.0, 1.0, 3.0} <= extra <= {2.0**tries - 1 for tries in range(40)}


@pytest.mark.parametrize(
    ("segments", "trips"), [(1, 0), (10, 0), (11, 1), (30, 1), (31, 2), (70, 2), (71, 3)]
)
def test_windows_double_from_ten_segments(segments: int, trips: int) -> None:
    assert waits_for_windows(segments, (0.02,)) == pytest.approx(trips * 0.02)


@given(segments=st.integers(1, 500), first=st.floats(0, 0.1), second=st.floats(0, 0.1))
def test_two_legs_wait_no_less_than_the_slower_and_no_more_than_both(
    segments: int, first: float, second: float
) -> None:
    both = waits_for_windows(segments, (first, second))
    each = waits_for_windows(segments, (first,)), waits_for_windows(segments, (second,))
    assert max(each) - 1e-9 <= both <= sum(each) + 1e-9


def test_messages_wait_for_those_before_them_where_there_is_a_rate() -> None:
    slow = leg(rate_mbps=8, delay_ms=1)
    arrivals = [slow.carry(0.0, 10_000) for _ in range(3)]
    gaps = [b - a for a, b in itertools.pairwise(arrivals)]
    assert gaps == pytest.approx([0.010462, 0.010462])


def test_an_answer_is_no_faster_than_its_narrowest_link() -> None:
    narrow, wide = way(rate_mbps=8), way()
    _, last_s = answer_s(0.0, 100_000, (wide, narrow))
    assert last_s >= 0.1


def test_events_come_in_order_of_time_and_of_asking() -> None:
    events, happened = Events(), []
    events.call_at(2.0, happened.append, "late")
    events.call_at(1.0, happened.append, "first")
    events.call_at(1.0, happened.append, "second")
    events.call_at(1.5, happened.append, "never").cancel()
    events.call_at(-5.0, happened.append, "now")
    events.run()
    assert happened == ["now", "first", "second", "late"]
    assert events.time() == 2.0
