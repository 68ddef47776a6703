"""What a report may cite: the numbers of stored runs as one JSON file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import pandas as pd

from experiments.analysis.caption import link_values, sweep_caption
from experiments.analysis.compare import differences
from experiments.analysis.summary import CELL, cell_intervals
from experiments.analysis.theory import reference
from experiments.plan.scenario import Scenario
from experiments.tables.dataset import Run

METRICS = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "mean_ms",
    "served_ms",
    "goodput_mbps",
    "throughput_mbps",
    "completed_rps",
    "jain",
    "second_share",
    "unanswered_share",
)


def cited(
    runs: Sequence[Run], invalid: Sequence[Run], table: pd.DataFrame, columns: Sequence[str]
) -> dict[str, Any]:
    """Everything under the names that `nginy.typ` asks for. `table` of `sweep_table(runs)`;
    `columns`: of factors beside loss and delay."""
    newest = max(runs, key=lambda run: run.manifest["started_utc"])
    return {
        "cells": _cells(table, columns),
        "differences": _differences(table, columns),
        "theory": _theory(runs, table, columns),
        "levels": {name: _plain(sorted(set(table[name]))) for name in (*CELL, *columns)},
        "caption": str(sweep_caption(runs)),
        "validity": {
            "valid": len(runs),
            "invalid": [
                {"run": run.run_id, "reasons": list(run.verdict["reasons"])} for run in invalid
            ],
            "added_pct": max(_added_pct(runs), default=None),
            "checks": _checks(runs),
        },
        "calibration": _calibration(newest),
        "newest": newest.manifest["started_utc"],
        "manifest": _manifest(newest),
        "runs": [_run(run) for run in runs],
    }


def _added_pct(runs: Sequence[Run]) -> list[float]:
    """How much too high latencies may be at p99, of those runs that measured it."""
    found = [(run.verdict.get("uncertainty") or {}).get("added_pct") for run in runs]
    return [each for each in found if each is not None]


def _cells(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """By algorithm and levels: mean, low, high and n of every metric."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = (*CELL, *columns)
    for metric in METRICS:
        for _, row in cell_intervals(table, metric, factors=columns).iterrows():
            key = tuple(row[name] for name in names)
            levels = {"levels": _plain(dict(zip(names, key, strict=True)))}
            cell = found.setdefault(key, levels)
            cell[metric] = _plain({part: row[part] for part in ("mean", "low", "high", "n")})
    return list(found.values())


def _differences(table: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {**_plain(asdict(each)), "levels": _plain(dict(each.levels)), "decided": each.decided}
        for metric in METRICS
        for each in differences(table, metric, factors=columns)
    ]


def _theory(
    runs: Sequence[Run], table: pd.DataFrame, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """What theory says of each cell's `served_ms`, or why it says nothing."""
    by_id = {run.run_id: run for run in runs}
    rows = []
    for _, row in table.drop_duplicates("cell").iterrows():
        exact = reference(Scenario.model_validate(by_id[row["run_id"]].manifest["scenario"]))
        levels = _plain({name: row[name] for name in (*CELL, *columns)})
        rows.append({"levels": levels, "value": exact.value_ms, "why": exact.why})
    return rows


def _checks(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Each kind of check: how many runs passed it, and what it said of the first."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for check in run.verdict.get("checks", []):
            kept = found.setdefault(
                check["name"], {"name": check["name"], "passed": 0, "said": check["detail"]}
            )
            kept["passed"] += check["ok"]
    return list(found.values())


def _calibration(run: Run) -> list[dict[str, Any]]:
    """Numbers of the newest run's links: asked and measured."""
    return [
        _plain({name: row.get(name) for name in ("link", "quantity", "asked", "measured", "unit")})
        for row in link_values(run.calibration["checks"])
        if row["asked"] is not None
    ]


def _manifest(run: Run) -> dict[str, Any]:
    """What a reader needs in order to repeat it."""
    machine, git = run.manifest["machine"], run.manifest["git"]
    return {
        "commit": git.get("commit") or "unknown",
        "clean": not git.get("dirty"),
        "kind": run.manifest.get("kind", "emulation"),
        "command": " ".join(["python -m experiments", *run.manifest["argv"][1:]]),
        "machine": f"{machine['cpu_count']} x {machine['cpu_model']}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB",
        "versions": _versions(run.manifest["versions"]),
        "scenario": run.manifest["scenario"],
    }


def _versions(found: Mapping[str, Any]) -> dict[str, str]:
    """Of what decides about results; the manifest has all."""
    kept = {name: found[name] for name in ("kernel", "python")}
    packages = found.get("packages", {})
    kept |= {name: packages[name] for name in ("numpy", "uvloop", "mininet") if name in packages}
    return kept | dict(found.get("tools", {}))


def _run(run: Run) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "seed": run.manifest["scenario"]["seed"],
        "sha256": sha256((run.path / "requests.parquet").read_bytes()).hexdigest(),
    }


def _plain(value: Any) -> Any:
    """Of JSON's types; what is no finite number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
