"""Pages are written: `index.html` of runs, of sweeps, and of all results."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from experiments.analysis.caption import sweep_caption
from experiments.analysis.summary import sweep_table
from experiments.plan.sweep import column
from experiments.present.numbers import sweep_numbers
from experiments.present.pages.pictures import pictures
from experiments.present.pages.render import Listed, list_page, run_page
from experiments.present.pages.rows import keep, stored_row
from experiments.present.studies import OUTCOME_FILE
from experiments.tables.dataset import Run, load_run
from experiments.tables.sweep import DISTURBED, SWEEP_FILE, made_of, runs_of, sweep_in

PAGE = "index.html"
ABOVE = f"../{PAGE}"
"""Of a run's page. By way of `results/latest` that is the list of all."""


def renew(results: Path, folder: Path) -> Path:
    """After a run or a sweep in `folder`: the pages of its runs that have none yet or an older one
    (of a run that was made again: both), those of the folders that they are in, and the list of all
    below `results`. Returns the page to look at first."""
    first_try = folder.with_name(f"{folder.name}{DISTURBED}")
    runs = [*_finished(folder), *_finished(first_try)]
    for run in runs:
        if _is_older(run / PAGE, run / "verdict.json"):
            _write_run(load_run(run))
    for group in _groups(runs, results):
        _write_group(group, results)
    everything = _write_list(results)
    return folder / PAGE if (folder / PAGE).is_file() else everything


def renew_all(results: Path) -> Iterator[Path]:
    """Every page anew. One that cannot be written raises what is wrong with it."""
    runs = _finished(results)
    for run in runs:
        yield _write_run(load_run(run))
    for group in _groups(runs, results):
        yield _write_group(group, results)
    yield _write_list(results)


def _finished(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("verdict.json"))


def _groups(runs: Iterable[Path], results: Path) -> list[Path]:
    """Folders that runs are in: of a scenario, of a sweep."""
    return sorted({run.parent for run in runs} - {results})


def _is_older(page: Path, than: Path) -> bool:
    return not page.exists() or page.stat().st_mtime_ns < than.stat().st_mtime_ns


def _write_run(run: Run) -> Path:
    keep(run)
    return _write(run.path / PAGE, run_page(run, ABOVE))


def _write_group(folder: Path, results: Path) -> Path:
    """Its runs; of a sweep also its means and figures."""
    sweep = sweep_in(folder)
    numbers, caption = [], ""
    if sweep is not None and (runs := runs_of(sweep, folder)):
        factors = [column(name) for name in sweep.factors]
        numbers = [sweep_numbers(sweep_table(runs, sweep.factors), factors)]
        caption = str(sweep_caption(runs, made_of(sweep, folder)))
    files = [(name, "") for name in (SWEEP_FILE, OUTCOME_FILE) if (folder / name).is_file()]
    page = list_page(
        folder.name,
        list(_listed(_finished(folder), folder)),
        home=Path(os.path.relpath(results / PAGE, folder)).as_posix(),
        numbers=numbers,
        shown=pictures(folder, caption),
        files=files,
    )
    return _write(folder / PAGE, page)


def _write_list(results: Path) -> Path:
    runs = _finished(results)
    count = Counter(run.parent for run in runs)
    groups = [
        (f"{folder.relative_to(results).as_posix()}/{PAGE}", f"{folder.name} ({count[folder]})")
        for folder in _groups(runs, results)
        if (folder / PAGE).is_file()
    ]
    return _write(results / PAGE, list_page("Results", list(_listed(runs, results)), groups=groups))


def _listed(folders: Iterable[Path], page: Path) -> Iterator[Listed]:
    for folder in folders:
        inside = folder.relative_to(page).as_posix()
        link = f"{inside}/{PAGE}" if (folder / PAGE).is_file() else f"{inside}/"
        yield Listed(link, folder.parent.name, folder.name, stored_row(folder))


def _write(path: Path, page: str) -> Path:
    """Whole or not at all: somebody may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(page)
    aside.replace(path)
    return path
