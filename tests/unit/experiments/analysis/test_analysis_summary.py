"""The stored runs in tests/golden through the whole analysis."""

import math
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.caption import measured_links, run_caption, sweep_caption
from experiments.analysis.conditions import Conditions
from experiments.analysis.summary import cell_intervals, summarise, sweep_table
from experiments.plan.scenario import Scenario
from experiments.tables.dataset import Run, load_run, load_runs

RUNS = Path(__file__).resolve().parents[3] / "golden" / "runs"
ONE = "least_conn-loss3-delay25-seed3"


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return load_runs(RUNS)


@pytest.fixture(scope="module")
def one() -> Run:
    return load_run(RUNS / "golden" / ONE)


def test_conditions_are_the_scenarios_own() -> None:
    scenario = Scenario.model_validate(
        {
            "algorithm": "random_two",
            "seed": 9,
            "duration_s": 20,
            "network": {"backends": 2, "client_link": {"loss_pct": 1.5, "delay_ms": 7}},
            "backends": {"weights": [1, 3]},
        }
    )
    where = Conditions.of_manifest({"scenario": scenario.model_dump(mode="json")})
    assert where.backends == scenario.backend_ids()
    assert where.weights == (1, 3)
    assert where.window_s == (scenario.warmup_s, 20)
    assert (where.loss_pct, where.delay_ms, where.rate_mbps) == (1.5, 7, None)
    assert where.timeout_ms == scenario.workload.timeout_ms
    equal = Conditions.of_manifest({"scenario": Scenario().model_dump(mode="json")})
    assert equal.weights == (1, 1, 1, 1)


def test_a_run_in_one_row(one: Run) -> None:
    row = summarise(one)
    measured = one.requests[one.requests["intended_s"].between(1, 4, inclusive="left")]
    unanswered = (measured["status"] != "ok").mean()
    assert row["requests"] == len(measured)
    assert row["unanswered_share"] == pytest.approx(unanswered)
    assert unanswered > 0
    assert row["p50_ms"] < row["p90_ms"] <= row["p99_9_ms"] == math.inf
    assert 0.25 <= row["jain"] <= 1
    assert row["jain_random_low"] < row["jain_random_mean"] < 1
    assert row["biased"] is False
    assert 0 < row["goodput_mbps"] <= row["throughput_mbps"]


def test_a_sweep_pools_replicates_and_nothing_else(runs: list[Run]) -> None:
    table = sweep_table(runs)
    assert len(table) == len(runs) == 24
    cells = cell_intervals(table, "goodput_mbps")
    assert len(cells) == 8
    assert (cells["n"] == 3).all()
    assert cells["mean"].between(cells["low"], cells["high"]).all()
    cell = table.query("algorithm == 'random' and loss_pct == 3 and delay_ms == 5")
    found = cells.query("algorithm == 'random' and loss_pct == 3 and delay_ms == 5")
    assert found["mean"].item() == pytest.approx(cell["goodput_mbps"].mean())


def test_loss_shows_in_flows_and_in_the_tail(runs: list[Run], one: Run) -> None:
    assert one.flows["retransmissions_down"].sum() > 0
    assert one.flows["syn_retries"].sum() > 0
    assert one.flows["backend"].notna().all()
    share = sweep_table(runs).groupby("loss_pct")["unanswered_share"].mean()
    assert share[3.0] > share[0.0]


def test_a_run_caption_says_how_many_what_seed_and_what_was_measured(one: Run) -> None:
    text = str(run_caption(one))
    for part in ("least_conn", f"n = {summarise(one)['requests']} requests", "seed 3"):
        assert part in text
    assert "RTT 50.3 ms" in text
    assert "rate 96.1 Mbit/s" in text
    assert text.endswith("run valid.")


def test_a_sweep_caption_counts_runs_and_names_invalid_ones(runs: list[Run]) -> None:
    assert "n = 24 runs" in str(sweep_caption(runs))
    assert "seeds 1, 2, 3" in str(sweep_caption(runs))
    assert "RTT 10.3 to 50.3 ms" in str(sweep_caption(runs))


def stated(run: Run, added_pct: float | None) -> Run:
    """The same run with an uncertainty in its verdict."""
    copy = Run(run.path)
    words = f"latencies up to 9.9 ms ({added_pct} %) too high at p99, links late"
    copy.__dict__["verdict"] = run.verdict | {
        "statement": words,
        "uncertainty": {"added_pct": added_pct},
    }
    return copy


def test_captions_state_how_much_too_high_latencies_may_be(runs: list[Run], one: Run) -> None:
    assert "run valid; latencies up to 9.9 ms (1.3 %) too high at p99" in str(
        run_caption(stated(one, 1.3))
    )
    mixed = [stated(runs[0], 1.3), stated(runs[1], 4.25), stated(runs[2], None), runs[3]]
    assert "all runs valid; latencies at most 4.2 % too high" in str(sweep_caption(mixed))
    assert str(sweep_caption(runs)).endswith("all runs valid.")


def check(link: str, quantity: str, measured: float | None, asked: float | None = 1.0) -> Any:
    return {"link": link, "quantity": quantity, "asked": asked, "measured": measured}


def test_only_measured_client_links_are_named() -> None:
    rows = [
        check("c1-s1", "median RTT", 20.456),
        check("lb-s1", "median RTT", 99.0),
        check("s1->c2", "loss of 900 packets", 1.25),
        check("c2->s1", "rate", None),
    ]
    text = measured_links([{"checks": rows}])
    assert text == "client links as measured: RTT 20.5 ms, loss 1.25 %"
    assert measured_links([{"checks": []}]) == ""


def test_the_loss_named_is_that_of_the_run_and_not_of_calibration() -> None:
    rows = [
        check("c1->s1", "loss of 50 packets", 4.0),
        check("c1->s1", "loss of 9000 packets", 1.02),
    ]
    assert measured_links([{"checks": rows}]) == "client links as measured: loss 1.02 %"


def test_a_rate_that_was_not_asked_for_is_not_named() -> None:
    assert measured_links([{"checks": [check("c1->s1", "rate", 100.0, asked=None)]}]) == ""
