"""A run in one row, a sweep in one table, its cells with intervals over replicates."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from experiments.analysis.client_totals import need_requests
from experiments.analysis.conditions import Conditions
from experiments.analysis.datagrams import count as count_datagrams
from experiments.analysis.fairness import (
    connections_used,
    fairness_verdict,
    jain,
    load_per_backend,
    max_over_mean,
)
from experiments.analysis.faults import fault_table
from experiments.analysis.intervals import t_interval
from experiments.analysis.latency import censored_share, percentiles
from experiments.analysis.throughput import in_window, total
from experiments.plan.scenario import digest
from experiments.plan.sweep import AGAIN, column
from experiments.tables.dataset import Run

CELL = ["algorithm", "loss_pct", "delay_ms"]
"""Columns that every sweep's table has; the columns of other factors are added to them."""


def summarise(run: Run) -> dict[str, float | str | bool]:
    """The figures of merit of one run over its measured interval, units in the names.

    Percentiles are infinite where censored, and NaN from load 1 on, where they only say how long
    the run was; `jain` is over requests, `jain_random_low` what an
    honest random balancer falls below once in a thousand runs. `served_ms`: mean time of answered
    requests at their backend, waiting and served; `second_share`: of all requests, those that took
    a second or more. With UDP also the counts of
    `experiments.analysis.datagrams.DatagramCounts`.

    Raises:
        DatasetError: the run has totals alone.
    """
    need_requests(run)
    where = Conditions.of_manifest(run.manifest)
    requests = in_window(run.requests, where.window_s)
    load = load_per_backend(run.requests, run.connections, where.backends, where.window_s)
    decisions = connections_used(run.requests, where.window_s)
    could_take = where.capacities()
    fairness = fairness_verdict(load["requests"].to_list(), could_take, decisions=decisions)
    answered = requests[requests["status"] == "ok"]
    latency = {
        f"p{100 * item.probability:g}_ms".replace(".", "_"): (
            float("nan") if where.overloaded else item.latency_ms
        )
        for item in percentiles(requests, where.timeout_ms)
    }
    return {
        "run_id": run.run_id,
        "algorithm": where.name,
        "loss_pct": where.loss_pct,
        "delay_ms": where.delay_ms,
        "seed": where.seed,
        "cell": cell_of(run.manifest),
        "again": run.run_id.endswith(AGAIN),
        "requests": len(requests),
        **asdict(total(run.requests, where.window_s)),
        "unanswered_share": censored_share(requests),
        "shed_share": float((requests["status"] == "rejected").mean()) if len(requests) else 0.0,
        **(asdict(count_datagrams(requests)) if where.protocol == "udp" else {}),
        "served_ms": float((answered["wait_ms"] + answered["service_ms"]).mean()),
        "mean_ms": float("nan") if where.overloaded else float(answered["latency_ms"].mean()),
        "second_share": float((requests["latency_ms"] >= 1000).mean()) if len(requests) else 0.0,
        **latency,
        "jain": fairness.jain,
        "jain_random_mean": fairness.floor.mean,
        "jain_random_low": fairness.floor.lowest,
        "biased": fairness.biased,
        "evenness": str(fairness),
        "max_over_mean": max_over_mean(load["requests"], could_take),
        "jain_bytes": jain(load["bytes"], could_take),
    }


def cell_of(manifest: Mapping[str, Any]) -> str:
    """Equal for runs that differ in nothing but the seed: only those are replicates."""
    scenario = manifest["scenario"]
    return digest({key: scenario[key] for key in scenario if key not in ("seed", "name")})[:12]


def sweep_table(runs: Iterable[Run], factors: Iterable[str] = ()) -> pd.DataFrame:
    """One row of `summarise` per run, with a column for each of `factors` (dotted names).

    The same scenario with the same seed is one run, however often it was made; the second run of
    an A/A pair is a row of its own, marked `again`.
    """
    rows = [
        summarise(run) | {column(name): _level(run.manifest, name) for name in factors}
        for run in runs
    ]
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    return table.drop_duplicates(["cell", "seed", "again"], keep="last", ignore_index=True)


def _level(manifest: Mapping[str, Any], factor: str) -> float | str:
    value: Any = manifest["scenario"]
    for key in factor.split("."):
        value = value[key]
    return value if isinstance(value, int | float | str) else str(value)


def cell_intervals(
    table: pd.DataFrame, value: str, confidence: float = 0.95, *, factors: Iterable[str] = ()
) -> pd.DataFrame:
    """Per cell, with its algorithm, loss, delay and columns `factors`: mean, low, high, n of column
    `value` over its replicates."""
    names = [*CELL, *factors]
    first = table[~table["again"].astype(bool)] if "again" in table else table
    cell = ["cell"] if "cell" in table else []
    rows = [
        {
            **dict(zip(names, key[: len(names)], strict=True)),
            **asdict(t_interval(group[value], confidence)),
        }
        for key, group in first.groupby([*names, *cell], sort=True)
    ]
    return pd.DataFrame(rows, columns=[*names, "mean", "low", "high", "n"])


def fault_summary(run: Run) -> pd.DataFrame:
    """One row of `experiments.analysis.faults.fault_table` per fault of a run.

    What is measured, and how: `experiments/analysis/detection.py` and `rebalancing.py`.
    """
    where = Conditions.of_manifest(run.manifest)
    return fault_table(
        run.faults, run.connections, run.requests, run.flows, where.backends, where.duration_s
    )
