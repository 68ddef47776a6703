"""Algorithms against each other, paired by seed."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.compare import (
    differences,
    distrusted,
    same_twice,
    widest_pct,
)
from experiments.analysis.summary import cell_intervals

SEEDS = range(1, 9)


def table(**p99_ms: object) -> pd.DataFrame:
    """A row per algorithm and seed; values by seed. `NAME_again`: the second of an A/A pair."""
    rows = []
    for name, values in p99_ms.items():
        algorithm, _, again = name.partition("__")
        for seed, value in zip(SEEDS, np.broadcast_to(values, len(SEEDS)), strict=True):
            rows.append(
                {
                    "algorithm": algorithm,
                    "loss_pct": 0.0,
                    "delay_ms": 10.0,
                    "load": 0.7,
                    "seed": seed,
                    "cell": algorithm,
                    "again": bool(again),
                    "p50_ms": 90.0,
                    "p99_ms": float(value),
                    "goodput_mbps": 20.0,
                }
            )
    return pd.DataFrame(rows)


WORKLOAD = np.linspace(100.0, 900.0, 8)
NOISE = np.array([1.0, -1.0, 2.0, -2.0, 1.0, -1.0, 0.0, 0.0])


def test_what_the_workload_contributes_cancels() -> None:
    found = table(least_conn=WORKLOAD - 41 + NOISE, round_robin=WORKLOAD)
    (pair,) = differences(found)
    assert str(pair) == "least_conn - round_robin: p99_ms -41 [-42.1, -39.9], 8 seeds"
    assert pair.decided
    apart = cell_intervals(found, "p99_ms")
    assert (apart["high"] - apart["low"]).min() > 100 * (pair.high - pair.low) / 2


def test_no_difference_cannot_be_told_from_none() -> None:
    (pair,) = differences(table(a=WORKLOAD + NOISE, b=WORKLOAD))
    assert not pair.decided


def test_many_comparisons_are_corrected() -> None:
    """Holm: of four p values that are each below 5 %, not all stay there."""
    noisy = WORKLOAD + 3 * NOISE + 4.0
    alone = differences(table(a=noisy, z=WORKLOAD), baseline="z")
    many = table(a=noisy, b=noisy, c=noisy, d=noisy, z=WORKLOAD)
    together = differences(many, baseline="z")
    assert alone[0].decided
    assert not any(each.decided for each in together)
    assert together[0].p_holm == pytest.approx(4 * alone[0].p_holm)


def test_one_seed_has_no_interval_and_is_no_evidence() -> None:
    (pair,) = differences(table(a=WORKLOAD, b=WORKLOAD + 5).query("seed == 1"))
    assert not pair.decided
    assert "no interval" in str(pair)


def test_a_censored_percentile_leaves_the_difference_open() -> None:
    censored = WORKLOAD.copy()
    censored[3] = np.inf
    (pair,) = differences(table(a=censored, b=WORKLOAD - 50))
    assert not pair.decided
    assert "censored" in str(pair)


def test_a_seed_that_one_lacks_is_left_out_and_the_others_are_paired() -> None:
    frame = table(a=WORKLOAD, b=WORKLOAD - 50)
    lacking = frame[~((frame["algorithm"] == "a") & (frame["seed"] == frame["seed"].max()))]
    (pair,) = differences(lacking)
    assert pair.n == len(WORKLOAD) - 1
    assert pair.mean == pytest.approx(50)


def test_pairs_are_made_within_a_level_of_the_other_factors() -> None:
    low = table(a=WORKLOAD, b=WORKLOAD + 5)
    high = table(a=WORKLOAD, b=WORKLOAD + 50).assign(load=0.9)
    found = differences(pd.concat([low, high]), factors=["load"])
    assert [(each.where, each.mean) for each in found] == [("load 0.7", -5.0), ("load 0.9", -50.0)]


def test_the_same_twice_is_trusted_and_what_differs_is_not() -> None:
    honest = table(a=WORKLOAD, a__again=WORKLOAD + NOISE, b=WORKLOAD)
    assert distrusted(same_twice(honest)) == []
    drifting = table(a=WORKLOAD, a__again=WORKLOAD + 30 + NOISE, b=WORKLOAD)
    (told,) = distrusted(same_twice(drifting))
    assert told.startswith("p99_ms: +")
    assert same_twice(table(a=WORKLOAD, b=WORKLOAD)) == {}


def test_the_second_of_a_pair_is_no_replicate() -> None:
    found = cell_intervals(table(a=WORKLOAD, a__again=WORKLOAD + 500), "p99_ms")
    assert found["n"].tolist() == [8]


def test_how_well_the_worst_known_cell_is_known() -> None:
    assert widest_pct(table(a=100.0, b=200.0)) == 0.0
    cells = cell_intervals(table(a=WORKLOAD), "p99_ms").iloc[0]
    expected = 50 * (cells["high"] - cells["low"]) / cells["mean"]
    assert widest_pct(table(a=WORKLOAD, b=200.0)) == pytest.approx(expected)
    assert widest_pct(table(a=WORKLOAD).query("seed == 1")) == np.inf


def test_runs_that_differ_in_more_than_the_seed_are_not_replicates() -> None:
    mixed = pd.concat([table(a=100.0), table(a=900.0).assign(cell="of another load")])
    assert sorted(cell_intervals(mixed, "p99_ms")["mean"]) == [100.0, 900.0]
