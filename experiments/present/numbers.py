"""The numbers of a run and of a sweep in words, for whoever shows them: terminal and pages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from experiments.analysis.caption import counted
from experiments.analysis.client_totals import ERRORS, client_totals, totals_only
from experiments.analysis.conditions import Conditions
from experiments.analysis.fairness import load_per_backend
from experiments.analysis.latency import percentile_intervals
from experiments.analysis.summary import CELL, cell_intervals, fault_summary, summarise
from experiments.analysis.throughput import background_mbps, in_window
from experiments.present.draw import markers
from experiments.tables.dataset import Run


class Numbers(NamedTuple):
    """A table in words."""

    title: str
    headings: tuple[str, ...]
    """Empty: each row names itself."""
    rows: Sequence[tuple[str, ...]]
    note: str = ""


_FAULT_WORDS = (
    "detected: the balancer chose that backend for the last time (after restore: again). "
    "re-balanced: which backend answers requests, and how many get no answer, is from then on what "
    "it stays until the next fault. at once: too soon to be told from chance."
)


def run_numbers(run: Run) -> list[Numbers]:
    """All tables of a run; none of one that measured nothing."""
    if not run.measured:
        return []
    found = [_totals(run), _served(run)] if totals_only(run) else [_merit(run), _backends(run)]
    return [*found, _faults(run)] if len(run.faults) else found


def _title(where: Conditions) -> str:
    rate = "unlimited" if where.rate_mbps is None else f"{where.rate_mbps:g} Mbit/s"
    return (
        f"{where.name}{', UDP' if where.protocol == 'udp' else ''}: "
        f"{counted(where.clients, 'client')}, "
        f"{counted(len(where.backends), 'backend')}; "
        f"client links {where.delay_ms:g} ms, {where.loss_pct:g} % loss, {rate}"
    )


def _totals(run: Run) -> Numbers:
    """Of clients that keep no record of each request."""
    totals = client_totals(run.samples)
    errors = totals[[*ERRORS, "timeouts"]].sum(axis="columns")
    rows = [
        (
            f"wrk {client}",
            f"{row['requests']:.0f} answers, {row['requests'] / row['seconds']:.0f} per s, "
            f"{row['bytes'] * 8e-6 / row['seconds']:.1f} Mbit/s; {row['errors']:.0f} failed\n"
            f"p50 {row['latency_p50_ms']:.1f} ms, p90 {row['latency_p90_ms']:.1f} ms, "
            f"p99 {row['latency_p99_ms']:.1f} ms, most {row['latency_max_ms']:.1f} ms",
        )
        for client, row in totals.assign(errors=errors).iterrows()
    ]
    unknown = (
        "latency under a given load (wrk asks again when it is answered),\n"
        "intervals, fairness: wrk keeps no record of each request"
    )
    title = _title(Conditions.of_manifest(run.manifest))
    return Numbers(title, (), [*rows, ("not known", unknown)])


def _merit(run: Run) -> Numbers:
    """Figures of merit, percentiles with their intervals."""
    where = Conditions.of_manifest(run.manifest)
    row = summarise(run)
    first_s, last_s = where.window_s
    rows = [("requests", f"{row['requests']} from {first_s:g} s to {last_s:g} s")]
    if row["requests"]:
        rows += _of_requests(run, where, row)
    return Numbers(_title(where), (), rows)


def _of_requests(run: Run, where: Conditions, row: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("unanswered", f"{row['unanswered_share']:.2%}")]
    if where.protocol == "udp":
        datagrams = (
            f"{row['lost']} lost, {row['late']} late (after the timeout), "
            f"{row['duplicates']} duplicate; reordered: {row['reordered_up']} requests, "
            f"{row['reordered_down']} answers"
        )
        rows.append(("datagrams", datagrams))
    rows += [
        ("completed", f"{row['completed_rps']:.1f} of {row['offered_rps']:.1f} offered per s"),
        ("goodput", f"{row['goodput_mbps']:.2f} Mbit/s"),
    ]
    for flow, mbps in background_mbps(run.samples, where.window_s).items():
        rows.append((f"background {flow}", f"{mbps:.2f} Mbit/s received"))
    if where.overloaded:
        latency = f"none: at load {where.load:g} it only says how long the run was"
        rows += [
            ("shed", f"{row['shed_share']:.2%} (full queues at the backends)"),
            ("queue", f"{_queued(run):.0f} waiting at the backends at the end"),
        ]
    else:
        latency = _latencies(run, where, row)
    fairness = (
        f"Jain {row['jain']:.4f} over requests: {row['evenness']}; "
        f"max/mean {row['max_over_mean']:.3f}"
    )
    return [*rows, ("latency", latency), ("fairness", fairness)]


_SHOWN = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _latencies(run: Run, where: Conditions, row: Mapping[str, Any]) -> str:
    """A line per percentile, with its interval."""
    requests = in_window(run.requests, where.window_s)
    around = percentile_intervals(requests, list(_SHOWN.values()))
    lines = []
    for name, (low, high) in zip(_SHOWN, around, strict=True):
        found = f"{name} {_latency(row[f'{name}_ms'], where.timeout_ms)}"
        known = "" if math.isnan(low) else f", 95 % {_bound(low)} to {_bound(high)}"
        lines.append(found + known)
    return "\n".join(lines)


def _latency(value_ms: Any, timeout_ms: float) -> str:
    return f">= {timeout_ms:g} ms" if math.isinf(value_ms) else f"{value_ms:.1f} ms"


def _bound(value_ms: float) -> str:
    return "unanswered" if math.isinf(value_ms) else f"{value_ms:.{1 if value_ms < 1000 else 0}f}"


def _queued(run: Run) -> float:
    """Requests that waited in all backends when each was sampled last before the load ended."""
    where = Conditions.of_manifest(run.manifest)
    queues = run.samples[run.samples["quantity"] == "queue_length"]
    return float(queues[queues["t_s"] <= where.duration_s].groupby("source")["value"].last().sum())


def _backends(run: Run) -> Numbers:
    where = Conditions.of_manifest(run.manifest)
    load = load_per_backend(run.requests, run.connections, where.backends, where.window_s)
    total = max(1, int(load["requests"].sum()))
    rows = [
        (
            str(name),
            str(weight),
            str(row["requests"]),
            f"{row['requests'] / total:.1%}",
            f"{row['bytes'] / 1e6:.2f}",
            str(row["connections"]),
        )
        for (name, row), weight in zip(load.iterrows(), where.weights, strict=True)
    ]
    headings = ("backend", "weight", "requests", "share", "megabytes", "connections")
    return Numbers("", headings, rows)


def _served(run: Run) -> Numbers:
    """By the servers' own logs, of the whole run; the balancer's connections after the warm-up."""
    where = Conditions.of_manifest(run.manifest)
    load = load_per_backend(run.requests, run.connections, where.backends, where.window_s)
    counts = run.samples[run.samples["quantity"] == "completed"]
    done = dict(zip(counts["source"], counts["value"], strict=True))
    rows = []
    for (name, row), weight in zip(load.iterrows(), where.weights, strict=True):
        answers, share = "not known", ""
        if (count := done.get(str(name))) is not None:
            answers, share = f"{count:.0f}", f"{count / max(1, sum(done.values())):.1%}"
        rows.append((str(name), str(weight), answers, share, str(row["connections"])))
    headings = ("backend", "weight", "answers by its log", "share", "connections")
    return Numbers("", headings, rows)


def _faults(run: Run) -> Numbers:
    rows = [
        (
            marker.label,
            f"{row['applied_s']:.2f}",
            _seconds(row["detect_s"], row["detect_reason"]),
            "at once"
            if row["rebalance_s"] == 0
            else _seconds(row["rebalance_s"], row["rebalance_reason"]),
        )
        for row, marker in zip(
            fault_summary(run).to_dict("records"), markers(run.faults), strict=True
        )
    ]
    headings = ("fault", "applied s", "detected after s", "re-balanced after s")
    return Numbers("", headings, rows, _FAULT_WORDS)


def _seconds(value: Any, reason: Any) -> str:
    return f"- ({reason})" if pd.isna(value) else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class _Column:
    """A value of the sweep's table as a column."""

    name: str
    heading: str
    digits: int

    def show(self, row: "pd.Series[float]") -> str:
        """`12.3 ± 0.4`; no interval from a single replicate, `-` from a censored one."""
        half = (row["high"] - row["low"]) / 2
        width = f" ± {half:.{self.digits}f}" if math.isfinite(half) else ""
        return f"{row['mean']:.{self.digits}f}{width}" if math.isfinite(row["mean"]) else "-"


_COLUMNS = (
    _Column("goodput_mbps", "Mbit/s", 1),
    _Column("p50_ms", "p50 ms", 0),
    _Column("p99_ms", "p99 ms", 0),
    _Column("jain", "Jain", 3),
)


def sweep_numbers(table: pd.DataFrame, factors: Sequence[str] = ()) -> Numbers:
    """One row per cell: means over replicates with 95 % intervals. `table` of `sweep_table`, with
    at least one row; `factors`: its columns of factors beside loss and delay."""
    intervals = [cell_intervals(table, each.name, factors=factors) for each in _COLUMNS]
    rows = []
    for of_columns in zip(*(frame.iterrows() for frame in intervals), strict=True):
        cells = [row for _, row in of_columns]
        algorithm, *levels = (cells[0][name] for name in (*CELL, *factors))
        values = [each.show(row) for each, row in zip(_COLUMNS, cells, strict=True)]
        named = [level if isinstance(level, str) else f"{level:g}" for level in levels]
        rows.append((str(algorithm), *named, f"{cells[0]['n']:.0f}", *values))
    headings = ("algorithm", "loss %", "ms", *factors, "n", *(each.heading for each in _COLUMNS))
    return Numbers("means over n replicates, ± half of the 95 % interval", headings, rows)
