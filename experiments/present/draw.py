"""Stored runs to figure files: which figures a run and a sweep have. No root, no network."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from experiments import figures
from experiments.analysis.caption import run_caption, sweep_caption
from experiments.analysis.conditions import Conditions
from experiments.analysis.datagrams import datagrams_per_second
from experiments.analysis.fairness import (
    connections_per_second,
    jain_per_second,
    requests_per_second,
)
from experiments.analysis.summary import cell_intervals, sweep_table
from experiments.analysis.throughput import in_window, per_second
from experiments.plan.sweep import load_sweep
from experiments.tables.dataset import Run, load_runs
from experiments.tables.sweep import SWEEP_FILE, runs_of

FOLDER = "figures"


def draw_run(run: Run) -> list[Path]:
    """Into `figures/` of the run's folder: latency CCDF; over time load per backend, throughput,
    and what became of datagrams if the run was one of UDP, with the faults marked.

    Across those of a run that is not valid stands that it is not. Nothing is drawn of a run that
    measured nothing.
    """
    if not run.measured:
        return []
    where, caption = Conditions.of_manifest(run.manifest), run_caption(run)
    counts = requests_per_second(run.requests, where.backends, where.duration_s)
    decisions = connections_per_second(run.requests, where.duration_s)
    could_take = [where.capacities((t_s, t_s + 1.0)) for t_s in counts.index]
    fairness = jain_per_second(counts, could_take, decisions)
    measured = {where.name: in_window(run.requests, where.window_s)}
    faults = markers(run.faults)
    drawn = {
        "latency_ccdf": figures.latency_ccdf(measured, where.timeout_ms, caption),
        "backend_load": figures.backend_load(counts, fairness, where.warmup_s, caption, faults),
        "throughput": figures.throughput_over_time(
            per_second(run.requests, where.duration_s), where.warmup_s, caption, faults
        ),
    }
    if where.protocol == "udp":
        seconds = datagrams_per_second(run.requests, where.duration_s)
        drawn["datagrams"] = figures.datagrams_over_time(seconds, where.warmup_s, caption, faults)
    if not run.verdict["valid"]:
        for figure in drawn.values():
            figures.mark_not_valid(figure)
    folder = _made(run.path / FOLDER)
    return [path for name, figure in drawn.items() for path in figures.save(figure, folder / name)]


def markers(faults: pd.DataFrame) -> list[figures.Marker]:
    """Table `faults` as marks on a time axis, at the times at which they were applied."""
    return [
        figures.Marker(applied_s, f"{action} {backend}" + (f" x{factor:g}" if factor > 0 else ""))
        for applied_s, action, backend, factor in zip(
            faults["applied_s"], faults["action"], faults["backend"], faults["factor"], strict=True
        )
    ]


def draw_sweep(runs: Sequence[Run], table: pd.DataFrame, folder: Path) -> list[Path]:
    """Fairness, throughput, goodput, p99 against every factor that varies, into `folder/figures`.

    `table` from `sweep_table(runs)`. Nothing is drawn of no runs.
    """
    if not runs:
        return []
    caption = sweep_caption(runs)
    floor = float(table["jain_random_mean"].mean())
    paths: list[Path] = []
    for factor in ("loss_pct", "delay_ms"):
        if table[factor].nunique() < 2:
            continue
        for quantity in (figures.JAIN, figures.THROUGHPUT, figures.GOODPUT, figures.P99):
            figure = figures.sweep_against(
                cell_intervals(table, quantity.column),
                factor,
                quantity,
                caption,
                floor=floor if quantity is figures.JAIN else None,
            )
            name = f"{quantity.column}_against_{factor}"
            paths += figures.save(figure, _made(folder / FOLDER) / name)
    return paths


def draw_all(results: Path, *, anyway: bool = False) -> Iterator[Path]:
    """The figures of every valid run below `results`, then those of every sweep.

    `anyway`: also of runs that are not valid, marked so; no sweep's figure has them.
    """
    for run in load_runs(results, valid_only=not anyway):
        yield from draw_run(run)
    for path in sorted(results.glob(f"*/{SWEEP_FILE}")):
        runs = runs_of(load_sweep(path), path.parent)
        yield from draw_sweep(runs, sweep_table(runs), path.parent)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
