"""The loop-lag figure, under a hand-set clock."""

import random

import pytest

from nginy.engine.loop_lag import Lag, LoopLag

TICK_S = 0.05


def test_nothing_seen_is_no_figure():
    assert LoopLag().figure(0.0) is None


def test_a_tick_that_is_early_or_in_time_is_not_late():
    lag = LoopLag()
    lag.add(-0.01, 1.0)
    assert lag.figure(1.0) == Lag(0.0, 0.0)


def test_p99_is_within_its_class_and_the_maximum_exact():
    lag = LoopLag()
    rng = random.Random(1)
    late_s = [rng.expovariate(1 / 0.003) for _ in range(1000)]
    for number, seconds in enumerate(late_s):
        lag.add(seconds, number * TICK_S)
    p99_ms = sorted(late_s)[989] * 1e3
    figure = lag.figure(1000 * TICK_S)
    assert figure is not None
    assert p99_ms <= figure.p99_ms <= 1.2 * p99_ms
    assert figure.max_ms == pytest.approx(max(late_s) * 1e3)


def test_one_late_tick_in_a_hundred_is_no_p99_but_two_are():
    lag = LoopLag()
    for number in range(99):
        lag.add(0.001, number * TICK_S)
    lag.add(0.2, 5.0)
    assert lag.figure(5.0).p99_ms < 2.0
    lag.add(0.2, 5.05)
    assert lag.figure(5.05) == Lag(200.0, 200.0)


def test_what_was_a_minute_ago_is_forgotten():
    lag = LoopLag()
    lag.add(0.5, 0.0)
    assert lag.figure(50.0).max_ms == 500.0
    for number in range(1, 1300):
        lag.add(0.001, number * TICK_S)
    assert lag.figure(65.0).max_ms == pytest.approx(1.0)
    assert lag.figure(200.0) is None


def test_a_standstill_longer_than_any_class_is_seen():
    lag = LoopLag()
    lag.add(100.0, 0.0)
    assert lag.figure(0.0) == Lag(100_000.0, 100_000.0)
