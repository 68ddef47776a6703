import math

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.intervals import paired_difference, t_interval


def test_hand_computed() -> None:
    """Mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.7764."""
    found = t_interval([1, 2, 3, 4, 5])
    assert (found.mean, found.n) == (3.0, 5)
    assert found.half_width == pytest.approx(2.7764 * math.sqrt(2.5 / 5), abs=1e-4)
    assert found.low + found.high == pytest.approx(6.0)


def test_one_replicate_says_nothing_about_the_spread() -> None:
    found = t_interval([7.0])
    assert (found.mean, found.n) == (7.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_replicate_and_replicates_without_a_value() -> None:
    assert math.isnan(t_interval([]).mean)
    assert t_interval([1.0, float("nan"), 3.0]).n == 2


def test_a_censored_replicate_makes_the_mean_infinite_and_the_interval_unknown() -> None:
    found = t_interval([1.0, math.inf, 2.0])
    assert math.isinf(found.mean)
    assert math.isnan(found.high)


def test_pairing_by_seed_removes_what_both_share() -> None:
    workload = pd.Series([10.0, 50.0, 90.0], index=[1, 2, 3])
    slower = workload + pd.Series([1.0, 1.1, 0.9], index=[1, 2, 3])
    found = paired_difference(slower, workload)
    assert found.mean == pytest.approx(1.0)
    assert found.half_width < 0.5 < t_interval(slower).half_width


def test_unpaired_replicates_are_left_out() -> None:
    first = pd.Series([1.0, 2.0, 9.0], index=[1, 2, 7])
    second = pd.Series([0.0, 1.0], index=[1, 2])
    assert paired_difference(first, second).n == 2


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    covered = 0
    for _ in range(2000):
        found = t_interval(generator.normal(5.0, 2.0, size=4))
        covered += found.low <= 5.0 <= found.high
    assert 0.935 < covered / 2000 < 0.965
