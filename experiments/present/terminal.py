"""What the terminal shows at the end of a run or a sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.analysis.client_totals import totals_only
from experiments.analysis.compare import differences, distrusted, same_twice
from experiments.analysis.conditions import Conditions
from experiments.analysis.intervals import Interval
from experiments.analysis.theory import Reference
from experiments.judge.verdict import STOLEN
from experiments.plan.sweep import Sweep, column
from experiments.present.numbers import Numbers, run_numbers, sweep_numbers
from experiments.tables.dataset import Run
from experiments.tables.sweep import Made


def show_run(run: Run, figures: Sequence[Path], console: Console) -> None:
    """Summary of one run: its numbers, the load of each backend, the verdict, the paths."""
    for numbers in run_numbers(run):
        console.print(_table(numbers))
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
    factors = [column(name) for name in sweep.factors] if sweep else []
    numbers = sweep_numbers(table, factors)
    shown = Table(title=numbers.title, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column(numbers.headings[0], no_wrap=True)
    for heading in numbers.headings[1:]:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in numbers.rows:
        shown.add_row(*row)
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


def _table(numbers: Numbers) -> Table:
    table = Table(
        *numbers.headings, title=numbers.title or None, show_header=bool(numbers.headings)
    )
    if numbers.note:
        table.caption, table.caption_justify = numbers.note, "left"
    for row in numbers.rows:
        table.add_row(*row)
    return table


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


def show_page(page: Path, console: Console) -> None:
    """Where to look with a browser."""
    console.print(f"  page     {_short(page)}", highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Relative to where the user is, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
