"""Stored runs to figure files: which figures a run and a sweep have. No root, no network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from experiments import figures
from experiments.analysis.caption import Caption, link_values, run_caption, sweep_caption
from experiments.analysis.client_totals import totals_only
from experiments.analysis.compare import differences
from experiments.analysis.conditions import Conditions
from experiments.analysis.datagrams import datagrams_per_second
from experiments.analysis.fairness import (
    connections_per_second,
    jain_per_second,
    requests_per_second,
)
from experiments.analysis.faults import applied
from experiments.analysis.summary import cell_intervals, fault_summary, sweep_table
from experiments.analysis.theory import reference
from experiments.analysis.throughput import in_window, per_second
from experiments.analysis.where_time_goes import latency_per_second, stack
from experiments.judge.punctuality import OneWay
from experiments.plan.network import SHAPES
from experiments.plan.scenario import Scenario
from experiments.plan.sweep import Sweep, column, load_sweep
from experiments.tables.dataset import Run, load_runs
from experiments.tables.sweep import SWEEP_FILE, Made, made_of, runs_of
from topologies.shapes.draw import svg

FOLDER = "figures"


def draw_run(run: Run) -> list[Path]:
    """All of RUN_FIGURES that the run has, and its network, into `figures/` of its folder.

    Across those of a run that is not valid stands that it is not. Nothing is drawn of a run that
    measured nothing.
    """
    if not run.measured:
        return []
    caption = run_caption(run)
    names = WITHOUT_REQUESTS if totals_only(run) else RUN_FIGURES
    drawn = {name: RUN_FIGURES[name](run, caption) for name in names}
    folder = _made(run.path / FOLDER)
    (folder / "topology.svg").write_text(network_svg(run))
    paths = []
    for name, figure in drawn.items():
        if figure is None:
            continue
        if not run.verdict["valid"]:
            figures.mark_not_valid(figure)
        paths += figures.save(figure, folder / name)
    return paths


def network_svg(run: Run) -> str:
    """Its network with what was asked of the links, and what was measured of those."""
    shape = Scenario.model_validate(run.manifest["scenario"]).topology
    found: dict[str, list[str]] = {}
    for row in link_values(run.calibration["checks"]):
        if row["asked"]:
            found.setdefault(row["link"], []).append(f"{row['measured']:.3g}{row['unit']}")
    return svg(shape, {edge: ", ".join(words) for edge, words in found.items()})


def draw_shapes(folder: Path) -> list[Path]:
    """Every shape of network with its own defaults, for the documents; `custom` has none."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in SHAPES:
        if name == "custom":
            continue
        backends = 4  # both sites of two have some
        settings = {"network": {"shape": name, "backends": backends}}
        paths.append(folder / f"{name}.svg")
        paths[-1].write_text(svg(Scenario.model_validate(settings).topology))
    return paths


def _latency_ccdf(run: Run, caption: Caption) -> figures.Figure:
    where = Conditions.of_manifest(run.manifest)
    measured = {where.name: in_window(run.requests, where.window_s)}
    return figures.latency_ccdf(measured, where.timeout_ms, caption)


def _backend_load(run: Run, caption: Caption) -> figures.Figure:
    where = Conditions.of_manifest(run.manifest)
    counts = requests_per_second(run.requests, where.backends, where.duration_s)
    decisions = connections_per_second(run.requests, where.duration_s)
    could_take = [where.capacities((t_s, t_s + 1.0)) for t_s in counts.index]
    fairness = jain_per_second(counts, could_take, decisions)
    return figures.backend_load(counts, fairness, where.warmup_s, caption, markers(run.faults))


def _throughput(run: Run, caption: Caption) -> figures.Figure:
    where = Conditions.of_manifest(run.manifest)
    seconds = per_second(run.requests, where.duration_s)
    return figures.throughput_over_time(seconds, where.warmup_s, caption, markers(run.faults))


def _latency_stack(run: Run, caption: Caption) -> figures.Figure | None:
    where = Conditions.of_manifest(run.manifest)
    measured = in_window(run.requests, where.window_s)
    if not (measured["status"] == "ok").any():
        return None
    return figures.latency_stack(stack({where.name: measured}), caption)


def _one_way_delay(run: Run, caption: Caption) -> figures.Figure | None:
    ways = _one_ways(run)
    return figures.one_way_delays(ways, caption) if ways else None


def _latency_over_time(run: Run, caption: Caption) -> figures.Figure | None:
    if not len(run.faults):
        return None
    where = Conditions.of_manifest(run.manifest)
    latency = latency_per_second(run.requests, where.duration_s)
    return figures.latency_over_time(latency, where.warmup_s, caption, markers(run.faults))


def _datagrams(run: Run, caption: Caption) -> figures.Figure | None:
    where = Conditions.of_manifest(run.manifest)
    if where.protocol != "udp":
        return None
    seconds = datagrams_per_second(run.requests, where.duration_s)
    return figures.datagrams_over_time(seconds, where.warmup_s, caption, markers(run.faults))


RUN_FIGURES: Mapping[str, Callable[[Run, Caption], figures.Figure | None]] = {
    "latency_ccdf": _latency_ccdf,
    "backend_load": _backend_load,
    "throughput": _throughput,
    "latency_stack": _latency_stack,
    "one_way_delay": _one_way_delay,
    "latency": _latency_over_time,
    "datagrams": _datagrams,
}
"""By name; None where a run has nothing to show (no captures, no faults, not UDP)."""


WITHOUT_REQUESTS = ("one_way_delay",)
"""Of them, what a run has whose clients kept no record of each request: the others would show
nothing as if there had been nothing."""


def _one_ways(run: Run) -> list[OneWay]:
    """By captures, if it had any at both ends."""
    stored = (run.verdict.get("uncertainty") or {}).get("one_way") or []
    return [OneWay(**each) for each in stored]


def markers(faults: pd.DataFrame) -> list[figures.Marker]:
    """Table `faults` as marks on a time axis, at the times at which they were applied."""
    return [
        figures.Marker(applied_s, str(fault))
        for applied_s, fault in zip(faults["applied_s"], applied(faults), strict=True)
    ]


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
    drawn = sweep_figures(runs, table, sweep_caption(runs, made), sweep)
    into = _made(folder / FOLDER)
    return [path for name, figure in drawn for path in figures.save(figure, into / name)]


def sweep_figures(
    runs: Sequence[Run], table: pd.DataFrame, caption: Caption, sweep: Sweep | None = None
) -> Iterator[tuple[str, figures.Figure]]:
    """All figures of a sweep, by name."""
    columns = [column(name) for name in sweep.factors] if sweep else []
    varied = varying(table, columns)
    return chain(
        _against(runs, table, columns, varied, caption),
        _differences(table, columns, sweep.baseline if sweep else None, caption),
        _over_all(runs, table, columns, varied, caption),
    )


def varying(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """What differs between the cells of a sweep: loss, delay, and those of the other factors."""
    return [name for name in ("loss_pct", "delay_ms", *columns) if table[name].nunique() > 1]


_QUANTITIES = (
    figures.JAIN,
    figures.THROUGHPUT,
    figures.GOODPUT,
    figures.P99,
    figures.SERVED,
)


def _over_all(
    runs: Sequence[Run],
    table: pd.DataFrame,
    columns: Sequence[str],
    varied: Sequence[str],
    caption: Caption,
) -> Iterator[tuple[str, figures.Figure]]:
    """What latency is made of, a heat map where two factors vary, and times to detect faults."""
    by_name: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        where = Conditions.of_manifest(run.manifest)
        by_name.setdefault(where.name, []).append(in_window(run.requests, where.window_s))
    pooled = {name: pd.concat(frames) for name, frames in sorted(by_name.items())}
    if not varied:
        yield "latency_stack", figures.latency_stack(stack(pooled), caption)
    if len(varied) == 2:
        cells = cell_intervals(table, figures.P99.column, factors=columns)
        pair = (varied[0], varied[1])
        if np.isfinite(cells["mean"]).any():
            yield "p99_ms_heat", figures.heat_map(cells, pair, figures.P99, caption)
    detected = [each for run in runs if len(run.faults) for each in _detections(run)]
    if detected:
        found = pd.DataFrame(detected)
        yield "times_to_detect", figures.times_to_detect(found, caption)


def _detections(run: Run) -> Iterator[dict[str, object]]:
    name = Conditions.of_manifest(run.manifest).name
    rows = fault_summary(run).to_dict("records")
    for row, marker in zip(rows, markers(run.faults), strict=True):
        yield {
            "algorithm": name,
            "fault": marker.label,
            "detect_s": row["detect_s"],
            "rebalance_s": row["rebalance_s"],
        }


def _against(
    runs: Sequence[Run],
    table: pd.DataFrame,
    columns: Sequence[str],
    varied: Sequence[str],
    caption: Caption,
) -> Iterator[tuple[str, figures.Figure]]:
    floor = float(table["jain_random_mean"].mean())
    exact = _exact(runs, table, varied)
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
                    exact=exact if quantity is figures.SERVED else None,
                ),
            )


def _exact(runs: Sequence[Run], table: pd.DataFrame, varied: Sequence[str]) -> pd.DataFrame | None:
    """What theory says of each cell, where it says something."""
    by_id = {run.run_id: run for run in runs}
    rows = []
    for _, row in table.drop_duplicates("cell").iterrows():
        scenario = Scenario.model_validate(by_id[row["run_id"]].manifest["scenario"])
        found = reference(scenario)
        if found.value_ms is not None:
            levels = {name: row[name] for name in ("algorithm", *varied)}
            rows.append({**levels, "value": found.value_ms})
    return pd.DataFrame(rows) if rows else None


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
