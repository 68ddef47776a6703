"""Stored runs to figure files: which figures a run and a sweep have. No root, no network."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from experiments import figures
from experiments.analysis.caption import Caption, run_caption, sweep_caption
from experiments.analysis.compare import differences
from experiments.analysis.conditions import Conditions
from experiments.analysis.datagrams import datagrams_per_second
from experiments.analysis.fairness import (
    connections_per_second,
    jain_per_second,
    requests_per_second,
)
from experiments.analysis.summary import cell_intervals, sweep_table
from experiments.analysis.throughput import in_window, per_second
from experiments.plan.faults import Fault
from experiments.plan.sweep import Sweep, column, load_sweep
from experiments.tables.dataset import Run, load_runs
from experiments.tables.sweep import SWEEP_FILE, Made, made_of, runs_of

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
        figures.Marker(applied_s, _told(action, subject, value))
        for applied_s, action, subject, value in zip(
            faults["applied_s"], faults["action"], faults["subject"], faults["value"], strict=True
        )
    ]


def _told(action: str, subject: str, value: float) -> str:
    known = None if math.isnan(value) else value
    return str(Fault(at_s=0, action=action, subject=subject, value=known))


def draw_sweep(
    runs: Sequence[Run],
    table: pd.DataFrame,
    folder: Path,
    sweep: Sweep | None = None,
    made: Made | None = None,
) -> list[Path]:
    """Fairness, throughput, goodput, p99 against every factor that varies, and the algorithms'
    paired differences, into `folder/figures`.

    `table` from `sweep_table(runs, sweep.factors)`. Nothing is drawn of no runs.
    """
    if not runs:
        return []
    caption = sweep_caption(runs, made)
    columns = [column(name) for name in sweep.factors] if sweep else []
    varied = [name for name in ("loss_pct", "delay_ms", *columns) if table[name].nunique() > 1]
    into = _made(folder / FOLDER)
    return [
        path
        for name, figure in chain(
            _against(table, columns, varied, caption),
            _differences(table, columns, sweep.baseline if sweep else None, caption),
        )
        for path in figures.save(figure, into / name)
    ]


_QUANTITIES = (figures.JAIN, figures.THROUGHPUT, figures.GOODPUT, figures.P99)


def _against(
    table: pd.DataFrame, columns: Sequence[str], varied: Sequence[str], caption: Caption
) -> Iterator[tuple[str, figures.Figure]]:
    floor = float(table["jain_random_mean"].mean())
    for factor in varied:
        for quantity in _QUANTITIES:
            yield (
                f"{quantity.column}_against_{factor}",
                figures.sweep_against(
                    cell_intervals(table, quantity.column, factors=columns),
                    factor,
                    quantity,
                    caption,
                    floor=floor if quantity is figures.JAIN else None,
                    others=varied,
                ),
            )


def _differences(
    table: pd.DataFrame, columns: Sequence[str], baseline: str | None, caption: Caption
) -> Iterator[tuple[str, figures.Figure]]:
    if table["algorithm"].nunique() < 2:
        return
    for quantity in (figures.P99, figures.GOODPUT):
        found = differences(table, quantity.column, factors=columns, baseline=baseline)
        yield f"{quantity.column}_differences", figures.forest(found, quantity.label, caption)


def draw_all(results: Path, *, anyway: bool = False) -> Iterator[Path]:
    """The figures of every valid run below `results`, then those of every sweep.

    `anyway`: also of runs that are not valid, marked so; no sweep's figure has them.
    """
    for run in load_runs(results, valid_only=not anyway):
        yield from draw_run(run)
    for path in sorted(results.glob(f"*/{SWEEP_FILE}")):
        sweep = load_sweep(path)
        runs = runs_of(sweep, path.parent)
        table = sweep_table(runs, sweep.factors)
        yield from draw_sweep(runs, table, path.parent, sweep, made_of(sweep, path.parent))


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
