"""Stored runs against each other: which ones, in what they differ, and their figure."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments import figures
from experiments.analysis.caption import Caption, sweep_caption
from experiments.analysis.conditions import Conditions
from experiments.analysis.latency import ccdf_band
from experiments.analysis.throughput import in_window
from experiments.plan.scenario import digest
from experiments.tables.dataset import Run, load_run, load_runs
from nginy.errors import NginyError

COMPARED = ("name", "seed", "system", "algorithm", "algorithm_options")
"""Settings in which compared runs may differ."""


class NoSuchRun(NginyError):
    """What is to be compared is not there; the message lists what is."""


def chosen_runs(names: Sequence[str], results: Path) -> list[Run]:
    """Of every name: the run of that folder, or all valid runs of that algorithm
    (`nginx:least_conn`: of nginx), under the conditions of the run whose folder was named first, or
    else of the newest run of any of them that all of them have.

    Raises:
        NoSuchRun: neither a run nor an algorithm that was run.
    """
    stored = sorted(load_runs(results), key=lambda run: run.manifest.get("started_utc", ""))
    named = {name: [load_run(at)] for name in names if (at := run_folder(name, results))}
    own = {name: _runs_of(name, stored, results) for name in names if name not in named}
    newest = (run for run in reversed(stored) if Conditions.of_manifest(run.manifest).name in own)
    candidates = [named[name][0] for name in names if name in named][:1] or newest
    for like in dict.fromkeys(map(conditions_of, candidates)):
        alike = {
            name: [run for run in runs if conditions_of(run) == like] for name, runs in own.items()
        }
        if all(alike.values()):
            return [run for name in names for run in (named | alike)[name]]
    raise NoSuchRun(f"{', '.join(own)}: never run under the same conditions as the others")


def _runs_of(name: str, stored: Sequence[Run], results: Path) -> list[Run]:
    own = [run for run in stored if Conditions.of_manifest(run.manifest).name == name]
    if not own:
        known = sorted({Conditions.of_manifest(run.manifest).name for run in stored})
        raise NoSuchRun(
            f"{name}: neither a run below {results} nor an algorithm that was run "
            f"(there are: {', '.join(known) or 'none'})"
        )
    return own


def conditions_of(run: Run) -> str:
    """Equal for runs that differ in nothing but `COMPARED`."""
    scenario = run.manifest["scenario"]
    return digest({key: value for key, value in scenario.items() if key not in COMPARED})


def other_differences(runs: Sequence[Run]) -> list[str]:
    """Settings in which the runs differ beside `COMPARED`: `network.client_link.delay_ms: 10, 20`.
    Then they are no comparison of algorithms."""
    flat = [dict(_settings(run.manifest["scenario"])) for run in runs]
    names = sorted({name for each in flat for name in each})
    found = []
    for name in names:
        levels = list(dict.fromkeys(str(each.get(name, "default")) for each in flat))
        if len(levels) > 1 and name.partition(".")[0] not in COMPARED:
            found.append(f"{name}: {', '.join(levels)}")
    return found


def latencies_compared(runs: Sequence[Run], caption: Caption) -> figures.Figure:
    """The latencies of all of them in one picture; replicates are pooled, and where there are three
    or more give a band."""
    by_name: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        where = Conditions.of_manifest(run.manifest)
        by_name.setdefault(where.name, []).append(in_window(run.requests, where.window_s))
    pooled = {name: pd.concat(frames, ignore_index=True) for name, frames in by_name.items()}
    found = {name: ccdf_band(frames) for name, frames in by_name.items()}
    bands = {name: band for name, band in found.items() if band is not None}
    timeout_ms = max(Conditions.of_manifest(run.manifest).timeout_ms for run in runs)
    return figures.latency_ccdf(pooled, timeout_ms, caption, bands)


def draw_comparison(runs: Sequence[Run], folder: Path) -> list[Path]:
    """`latencies_compared` into `folder`."""
    figure = latencies_compared(runs, sweep_caption(runs))
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(Conditions.of_manifest(run.manifest).name for run in runs)
    stem = "-".join(name.replace(":", "_").replace(" ", "_") for name in names)
    return figures.save(figure, folder / f"latency_ccdf-{stem}")


def run_folder(name: str, results: Path) -> Path | None:
    """A path to a run, the name of its folder anywhere below `results`, or `latest`."""
    for path in (Path(name), results / name, *results.glob(f"*/{name}")):
        if (path / "manifest.json").is_file():
            return path
    return None


def _settings(scenario: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """By dotted name."""
    for key, value in scenario.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{inside}{key}.")
        else:
            yield f"{inside}{key}", value
