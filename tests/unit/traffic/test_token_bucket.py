"""Token buckets under a hand-set clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.traffic.rate import TokenBucket

EXACT = 1e-6
"""Relative: what floating-point numbers may be off by."""


@given(
    rate=st.floats(0.01, 1e9),
    burst=st.floats(1, 1e9),
    start=st.floats(0, 1e6),
    takes=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e7)), max_size=50),
)
def test_never_more_than_burst_and_rate(rate, burst, start, takes):
    bucket = TokenBucket(rate, burst, start)
    now, taken, largest = start, 0.0, 0.0
    for pause, size in takes:
        now += pause
        if bucket.take(size, now):
            taken += size
            largest = max(largest, size)
    excess = max(0.0, largest - burst)
    assert taken <= (burst + rate * (now - start) + excess) * (1 + EXACT)


@given(
    rate=st.floats(1, 1e9),
    start=st.floats(0, 1e6),
    pauses=st.lists(st.floats(0, 10), max_size=50),
)
def test_whoever_takes_all_there_is_gets_the_rate(rate, start, pauses):
    """As the relay does: in sum what came in, but for one token and what a pause overfilled."""
    bucket = TokenBucket(rate, rate, start)
    now, taken, expected = start, 0, rate
    for pause in pauses:
        before = bucket.available(now)
        bucket.spend(before)
        taken += before
        now += pause
        expected += rate * min(pause, 1.0)
    taken += bucket.available(now)
    assert taken <= expected * (1 + EXACT)
    assert taken >= expected * (1 - EXACT) - len(pauses) - 1


def test_a_piece_larger_than_the_bucket_passes_once_it_is_full_and_is_paid_for():
    bucket = TokenBucket(100, 100, 0.0)
    assert bucket.take(1000, 0.0)
    assert not bucket.take(1, 9.0)
    assert bucket.take(1, 9.5)


def test_what_is_charged_after_an_idle_time_is_not_refilled_by_that_time():
    bucket = TokenBucket(100, 100, 0.0)
    bucket.charge(60, 10.0)
    assert bucket.available(10.0) == 40
    bucket.charge(100, 10.0)
    assert bucket.ready_at(1) == pytest.approx(10.61)


def test_ready_at():
    bucket = TokenBucket(10, 10, 5.0)
    assert bucket.full(5.0)
    bucket.spend(10)
    assert not bucket.full(5.9)
    assert bucket.ready_at(1) == pytest.approx(5.1)
    assert bucket.available(5.05) == 0
    assert bucket.available(5.1 + 1e-9) == 1


def test_no_rate_is_no_bucket():
    assert TokenBucket.of(0, 0.0) is None


def test_a_rate_below_one_still_lets_a_byte_through():
    bucket = TokenBucket.of(0.5, 0.0)
    assert bucket.available(0.0) == 1
    bucket.spend(1)
    assert bucket.available(1.9) == 0
    assert bucket.available(2.0) == 1
