import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.latency import (
    Percentile,
    ccdf,
    censored_share,
    latencies_ms,
    percentile_intervals,
    percentiles,
)
from experiments.tables.schema import empty_frame

TIMEOUT_MS = 5000.0


def requests(answered_ms: list[float], failed: int = 0) -> pd.DataFrame:
    """A failed request failed after 1 ms, which must not make it look fast."""
    return pd.DataFrame(
        {
            "latency_ms": [*answered_ms, *[1.0] * failed],
            "status": ["ok"] * len(answered_ms) + ["refused"] * failed,
        }
    )


def test_hand_computed_percentiles_with_a_censored_tail() -> None:
    frame = requests([10, 20, 30, 40, 50, 60, 70, 80, 90], failed=1)
    p50, p90, p95 = percentiles(frame, TIMEOUT_MS, (0.5, 0.9, 0.95))
    assert (p50.latency_ms, p50.censored, str(p50)) == (50, False, "50.0 ms")
    assert p90.latency_ms == 90
    assert (p95.latency_ms, p95.censored, str(p95)) == (math.inf, True, ">= 5000 ms")
    assert censored_share(frame) == pytest.approx(0.1)


def test_everything_failed() -> None:
    frame = requests([], failed=3)
    assert all(item.censored for item in percentiles(frame, TIMEOUT_MS))
    assert censored_share(frame) == 1.0
    assert len(ccdf(frame)) == 0


def test_nothing_was_sent() -> None:
    frame = empty_frame("requests")
    (p50,) = percentiles(frame, TIMEOUT_MS, (0.5,))
    assert str(p50) == "n/a"
    assert not p50.censored
    assert math.isnan(censored_share(frame))
    assert len(ccdf(frame)) == 0


def test_the_ccdf_ends_at_the_share_that_was_never_answered() -> None:
    curve = ccdf(requests([10, 20, 20, 30], failed=1))
    assert curve["latency_ms"].to_list() == [10, 20, 30]
    assert curve["share_above"].to_list() == pytest.approx([0.8, 0.4, 0.2])


@given(
    st.lists(st.floats(0, 1e5), min_size=1, max_size=200),
    st.integers(0, 50),
    st.floats(0.001, 1.0),
)
def test_a_percentile_is_the_least_latency_that_reaches_its_share(
    answered: list[float], failed: int, probability: float
) -> None:
    frame = requests(answered, failed)
    (found,) = percentiles(frame, TIMEOUT_MS, (probability,))
    values = latencies_ms(frame)
    rank = math.ceil(probability * len(values) - 1e-9)
    assert found.latency_ms == values[max(rank, 1) - 1]


@given(st.lists(st.floats(0, 1e5), min_size=1), st.integers(0, 50))
def test_failing_more_never_improves_a_percentile(answered: list[float], failed: int) -> None:
    before = percentiles(requests(answered, failed), TIMEOUT_MS)
    after = percentiles(requests(answered, failed + 1), TIMEOUT_MS)
    assert all(a.latency_ms <= b.latency_ms for a, b in zip(before, after, strict=True))


def test_exponential_latencies_have_the_percentiles_of_theory() -> None:
    """M/M/1 at load 0.5: response time is exponential with mean 2 services."""
    drawn = np.random.default_rng(3).exponential(2.0, 400_000)
    found = percentiles(requests(drawn.tolist()), TIMEOUT_MS, (0.5, 0.9, 0.99))
    assert [item.latency_ms for item in found] == pytest.approx([1.3863, 4.6052, 9.2103], rel=0.02)


def test_a_percentile_prints_what_is_known() -> None:
    assert str(Percentile(0.5, 12.34, 100.0)) == "12.3 ms"


def a_run(seed: int, seconds: int = 27) -> pd.DataFrame:
    """40 requests a second; each second has a level of its own: requests depend on each other."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.gamma(2.0, 20.0, seconds), 40)
    return pd.DataFrame(
        {
            "intended_s": np.repeat(np.arange(seconds), 40) + 0.5,
            "latency_ms": level + rng.exponential(5.0, 40 * seconds),
            "status": "ok",
        }
    )


def test_intervals_of_one_run_hold_the_median_of_many() -> None:
    true_ms = float(np.median(pd.concat([a_run(1000 + s) for s in range(200)])["latency_ms"]))
    held = 0
    for seed in range(60):
        ((low, high),) = percentile_intervals(a_run(seed), [0.5])
        held += low <= true_ms <= high
    assert held >= 50


def test_a_percentile_that_may_be_unanswered_has_no_upper_bound() -> None:
    frame = a_run(1)
    frame.loc[frame.index % 100 == 0, "status"] = "timeout"
    ((low, high),) = percentile_intervals(frame, [0.99])
    assert np.isfinite(low)
    assert np.isinf(high)


def test_of_a_few_seconds_nothing_is_known() -> None:
    ((low, _),) = percentile_intervals(a_run(1, seconds=3), [0.5])
    assert np.isnan(low)
