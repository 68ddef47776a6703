"""What the terminal shows at the end of a run or a sweep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.analysis.caption import counted
from experiments.analysis.client_totals import ERRORS, client_totals, totals_only
from experiments.analysis.compare import differences, distrusted, same_twice
from experiments.analysis.conditions import Conditions
from experiments.analysis.fairness import load_per_backend
from experiments.analysis.intervals import Interval
from experiments.analysis.latency import percentile_intervals
from experiments.analysis.summary import CELL, cell_intervals, fault_summary, summarise
from experiments.analysis.theory import Reference
from experiments.analysis.throughput import background_mbps, in_window
from experiments.judge.verdict import STOLEN
from experiments.plan.sweep import Sweep, column
from experiments.present.draw import markers
from experiments.tables.dataset import Run
from experiments.tables.sweep import Made


@dataclass(frozen=True, slots=True)
class _Column:
    """A value of the sweep's table as a column of the terminal's."""

    name: str
    heading: str
    digits: int

    def show(self, row: "pd.Series[float]") -> str:
        """`12.3 ± 0.4`; no interval from a single replicate, `-` from a censored one."""
        half = (row["high"] - row["low"]) / 2
        width = f" ± {half:.{self.digits}f}" if math.isfinite(half) else ""
        return f"{row['mean']:.{self.digits}f}{width}" if math.isfinite(row["mean"]) else "-"


_FAULT_WORDS = (
    "detected: the balancer chose that backend for the last time (after restore: again). "
    "re-balanced: which backend answers requests, and how many get no answer, is from then on what "
    "it stays until the next fault. at once: too soon to be told from chance."
)

_COLUMNS = (
    _Column("goodput_mbps", "Mbit/s", 1),
    _Column("p50_ms", "p50 ms", 0),
    _Column("p99_ms", "p99 ms", 0),
    _Column("jain", "Jain", 3),
)


def show_run(run: Run, figures: Sequence[Path], console: Console) -> None:
    """Summary of one run: its numbers, the load of each backend, the verdict, the paths."""
    if run.measured:
        console.print(_totals(run) if totals_only(run) else _numbers(run))
        console.print(_backends(run))
        if len(run.faults):
            console.print(_faults(run))
    _show_verdict(run, console)
    _show_paths(figures, console)
    console.print(f"  run      {_short(run.path)}", highlight=False, soft_wrap=True)
    if run.verdict["valid"] and not totals_only(run):
        name = Conditions.of_manifest(run.manifest).name
        other = "round_robin" if name != "round_robin" else "least_conn"
        console.print(
            f"  next     the same with ALG={other}, then make compare RUNS='{name} {other}'; "
            "make notebook",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def show_sweep(
    table: pd.DataFrame,
    figures: Sequence[Path],
    console: Console,
    sweep: Sweep | None = None,
    made: Made | None = None,
) -> None:
    """One row per cell of a sweep: means over replicates with 95 % intervals; the algorithms'
    paired differences; whether the same twice was the same; how many runs were what; the paths."""
    if table.empty:
        console.print("no valid run yet: nothing to show")
        return
    title = "means over n replicates, ± half of the 95 % interval"
    shown = Table(title=title, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    factors = [column(name) for name in sweep.factors] if sweep else []
    headings = ("loss %", "ms", *factors, "n", *(column.heading for column in _COLUMNS))
    shown.add_column("algorithm", no_wrap=True)
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    intervals = [cell_intervals(table, each.name, factors=factors) for each in _COLUMNS]
    for rows in zip(*(frame.iterrows() for frame in intervals), strict=True):
        cells = [row for _, row in rows]
        algorithm, *levels = (cells[0][name] for name in (*CELL, *factors))
        values = [each.show(row) for each, row in zip(_COLUMNS, cells, strict=True)]
        named = [level if isinstance(level, str) else f"{level:g}" for level in levels]
        shown.add_row(algorithm, *named, f"{cells[0]['n']:.0f}", *values)
    console.print(shown)
    for each in differences(table, factors=factors, baseline=sweep.baseline if sweep else None):
        told = "" if each.decided else ": cannot be told apart"
        console.print(f"  paired   {each}{told}", highlight=False, markup=False, soft_wrap=True)
    _show_same_twice(table, console)
    if made is not None:
        console.print(f"  runs     {made}", highlight=False)
        for said in made.suspicious:
            console.print(f"  [red]validity[/] {said}", highlight=False, soft_wrap=True)
    _show_paths(figures, console)


def show_simulated(
    measured: Interval, exact: Reference, verdict: Mapping[str, Any], console: Console
) -> None:
    """What a simulation adds: the mean time at the backends with its interval, beside theory."""
    found = f"{measured.mean:.2f} ms [{measured.low:.2f}, {measured.high:.2f}]"
    theory = exact.why if exact.value_ms is None else f"{exact.value_ms:.2f} ms, {exact.why}"
    console.print(f"  served   {found} in the mean, waiting included; theory: {theory}")
    console.print(f"  speed    {verdict['simulated_per_s']:,.0f} requests a second")


def _show_same_twice(table: pd.DataFrame, console: Console) -> None:
    pairs = same_twice(table)
    if not pairs:
        return
    apart = distrusted(pairs)
    said = (
        f"[red]differs[/] ({'; '.join(apart)}): this sweep is not to be trusted"
        if apart
        else f"the same twice ({', '.join(pairs)})"
    )
    console.print(f"  A/A pair {said}", highlight=False, soft_wrap=True)


def _empty_numbers(where: Conditions) -> Table:
    rate = "unlimited" if where.rate_mbps is None else f"{where.rate_mbps:g} Mbit/s"
    return Table(
        title=f"{where.name}{', UDP' if where.protocol == 'udp' else ''}: "
        f"{counted(where.clients, 'client')}, "
        f"{counted(len(where.backends), 'backend')}; "
        f"client links {where.delay_ms:g} ms, {where.loss_pct:g} % loss, {rate}",
        show_header=False,
    )


def _totals(run: Run) -> Table:
    """Of clients that keep no record of each request."""
    where = Conditions.of_manifest(run.manifest)
    table = _empty_numbers(where)
    totals = client_totals(run.samples)
    errors = totals[[*ERRORS, "timeouts"]].sum(axis="columns")
    for client, row in totals.assign(errors=errors).iterrows():
        table.add_row(
            f"wrk {client}",
            f"{row['requests']:.0f} answers, {row['requests'] / row['seconds']:.0f} per s, "
            f"{row['bytes'] * 8e-6 / row['seconds']:.1f} Mbit/s; {row['errors']:.0f} failed\n"
            f"p50 {row['latency_p50_ms']:.1f} ms, p90 {row['latency_p90_ms']:.1f} ms, "
            f"p99 {row['latency_p99_ms']:.1f} ms, most {row['latency_max_ms']:.1f} ms",
        )
    table.add_row(
        "not known",
        "latency under a given load (wrk asks again when it is answered),\n"
        "intervals, fairness: wrk keeps no record of each request",
    )
    return table


def _numbers(run: Run) -> Table:
    where = Conditions.of_manifest(run.manifest)
    row = summarise(run)
    table = _empty_numbers(where)
    latency = _latencies(run, where, row)
    first_s, last_s = where.window_s
    table.add_row("requests", f"{row['requests']} from {first_s:g} s to {last_s:g} s")
    if not row["requests"]:
        return table
    table.add_row("unanswered", f"{row['unanswered_share']:.2%}")
    if where.protocol == "udp":
        table.add_row(
            "datagrams",
            f"{row['lost']} lost, {row['late']} late (after the timeout), "
            f"{row['duplicates']} duplicate; reordered: {row['reordered_up']} requests, "
            f"{row['reordered_down']} answers",
        )
    table.add_row(
        "completed", f"{row['completed_rps']:.1f} of {row['offered_rps']:.1f} offered per s"
    )
    table.add_row("goodput", f"{row['goodput_mbps']:.2f} Mbit/s")
    for flow, mbps in background_mbps(run.samples, where.window_s).items():
        table.add_row(f"background {flow}", f"{mbps:.2f} Mbit/s received")
    if where.overloaded:
        table.add_row("shed", f"{row['shed_share']:.2%} (full queues at the backends)")
        table.add_row("queue", f"{_queued(run):.0f} waiting at the backends at the end")
        latency = f"none: at load {where.load:g} it only says how long the run was"
    table.add_row("latency", latency)
    table.add_row(
        "fairness",
        f"Jain {row['jain']:.4f} over requests: {row['evenness']}; "
        f"max/mean {row['max_over_mean']:.3f}",
    )
    return table


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


def _bound(value_ms: float) -> str:
    return "unanswered" if math.isinf(value_ms) else f"{value_ms:.{1 if value_ms < 1000 else 0}f}"


def _queued(run: Run) -> float:
    """Requests that waited in all backends when each was sampled last before the load ended."""
    where = Conditions.of_manifest(run.manifest)
    queues = run.samples[run.samples["quantity"] == "queue_length"]
    return float(queues[queues["t_s"] <= where.duration_s].groupby("source")["value"].last().sum())


def _backends(run: Run) -> Table:
    where = Conditions.of_manifest(run.manifest)
    load = load_per_backend(run.requests, run.connections, where.backends, where.window_s)
    if totals_only(run):
        return _served(run, where, load)
    table = Table("backend", "weight", "requests", "share", "megabytes", "connections")
    total = max(1, int(load["requests"].sum()))
    for (name, row), weight in zip(load.iterrows(), where.weights, strict=True):
        table.add_row(
            str(name),
            str(weight),
            str(row["requests"]),
            f"{row['requests'] / total:.1%}",
            f"{row['bytes'] / 1e6:.2f}",
            str(row["connections"]),
        )
    return table


def _served(run: Run, where: Conditions, load: pd.DataFrame) -> Table:
    """By the servers' own logs, of the whole run; the balancer's connections after the warm-up."""
    counts = run.samples[run.samples["quantity"] == "completed"]
    done = dict(zip(counts["source"], counts["value"], strict=True))
    table = Table("backend", "weight", "answers by its log", "share", "connections")
    for (name, row), weight in zip(load.iterrows(), where.weights, strict=True):
        answers, share = "not known", ""
        if (count := done.get(str(name))) is not None:
            answers, share = f"{count:.0f}", f"{count / max(1, sum(done.values())):.1%}"
        table.add_row(str(name), str(weight), answers, share, str(row["connections"]))
    return table


def _faults(run: Run) -> Table:
    rows = fault_summary(run)
    table = Table("fault", "applied s", "detected after s", "re-balanced after s")
    table.caption, table.caption_justify = _FAULT_WORDS, "left"
    for row, marker in zip(rows.to_dict("records"), markers(run.faults), strict=True):
        table.add_row(
            marker.label,
            f"{row['applied_s']:.2f}",
            _seconds(row["detect_s"], row["detect_reason"]),
            "at once"
            if row["rebalance_s"] == 0
            else _seconds(row["rebalance_s"], row["rebalance_reason"]),
        )
    return table


def _seconds(value: Any, reason: Any) -> str:
    return f"- ({reason})" if pd.isna(value) else f"{value:.2f}"


def show_reasons(run: Run, console: Console) -> None:
    """Why a run is invalid, a line each; nothing for a valid one."""
    for reason in run.verdict["reasons"]:
        console.print(f"           {reason}", highlight=False, markup=False, soft_wrap=True)


def show_repeat(disturbance: str, kept: Path, console: Console) -> None:
    """One sentence: why the run is made again."""
    console.print(
        f"  disturbed ({disturbance}): the run is made once more; the first is kept in "
        f"{_short(kept)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _show_verdict(run: Run, console: Console) -> None:
    verdict: dict[str, Any] = run.verdict
    if verdict["valid"]:
        stated = verdict.get("statement")  # runs of before have none
        console.print(
            f"  verdict  [green]valid[/]{f'; {stated}' if stated else ''} "
            f"({len(verdict['checks'])} checks passed)",
            highlight=False,
            soft_wrap=True,
        )
        _show_notes(verdict, console)
        return
    console.print("  verdict  [red]invalid[/]: the numbers are no evidence")
    show_reasons(run, console)
    console.print(f"  do       {_advice(run)}", highlight=False, markup=False, soft_wrap=True)


def _show_notes(verdict: Mapping[str, Any], console: Console) -> None:
    """What a reader of a valid run has to know besides; runs of before have none."""
    tail = verdict.get("tail")
    touched = [tail["statement"]] if tail and tail["touched"] else []
    for note in (*verdict.get("labels", ()), *touched):
        console.print(f"  note     {note}", highlight=False, markup=False, soft_wrap=True)


def _advice(run: Run) -> str:
    """What disturbed the run, and what to do about it."""
    disturbance = run.verdict.get("disturbance")
    if run.manifest.get("by_hand") and run.measured:
        return f"make experiment SCENARIO={run.path}/clicked.yaml repeats it as a run that counts"
    if disturbance is None:
        advice = "another try will not mend this: see the reasons above, and `make doctor`"
    elif STOLEN in disturbance:
        advice = f"{disturbance}: run it again when the host of this machine is less busy"
    else:
        advice = f"{disturbance}: close other programs or lower LOAD or CLIENTS, then run it again"
    if not run.measured:
        return f"{advice}; it ended before anything was measured, so there is nothing to draw"
    return f"{advice}; FIGURES=anyway draws it with NOT VALID across the picture"


def _show_paths(figures: Sequence[Path], console: Console) -> None:
    """One line per figure: beside each PNG lies the same as SVG."""
    for path in figures:
        if path.suffix == ".png":
            console.print(f"  figure   {_short(path)} (and .svg)", highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Relative to where the user is, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _latency(value_ms: Any, timeout_ms: float) -> str:
    return f">= {timeout_ms:g} ms" if math.isinf(value_ms) else f"{value_ms:.1f} ms"
