"""Pages are written: `index.html` of runs, of sweeps, and of all results."""

import os
from collections import defaultdict
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


def renew(results: Path, folder: Path) -> Path:
    """After a run or a sweep in `folder`: the pages of its runs that have none yet or an older one
    (of a run that was made again: both), the sweep's, and the list of all below `results`. Returns
    the page to look at first."""
    first_try = folder.with_name(f"{folder.name}{DISTURBED}")
    for run in (*_finished(folder), *_finished(first_try)):
        if _is_older(run / PAGE, run / "verdict.json"):
            _write_run(load_run(run), results)
    if (folder / SWEEP_FILE).is_file():
        _write_sweep(folder, results)
    everything = _write_list(results)
    return folder / PAGE if (folder / PAGE).is_file() else everything


def renew_all(results: Path) -> Iterator[Path]:
    """Every page anew. One that cannot be written raises what is wrong with it."""
    for folder in _finished(results):
        yield _write_run(load_run(folder), results)
    for sweep in sorted(results.glob(f"*/{SWEEP_FILE}")):
        yield _write_sweep(sweep.parent, results)
    yield _write_list(results)


def _finished(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("verdict.json"))


def _is_older(page: Path, than: Path) -> bool:
    return not page.exists() or page.stat().st_mtime_ns < than.stat().st_mtime_ns


def _write_run(run: Run, results: Path) -> Path:
    keep(run)
    home = Path(os.path.relpath(results / PAGE, run.path)).as_posix()
    return _write(run.path / PAGE, run_page(run, home))


def _write_sweep(folder: Path, results: Path) -> Path:
    sweep = sweep_in(folder)
    assert sweep is not None
    runs = runs_of(sweep, folder)
    table = sweep_table(runs, sweep.factors)
    factors = [column(name) for name in sweep.factors]
    numbers = [] if table.empty else [sweep_numbers(table, factors)]
    caption = str(sweep_caption(runs, made_of(sweep, folder))) if runs else ""
    files = [(name, "") for name in (SWEEP_FILE, OUTCOME_FILE) if (folder / name).is_file()]
    return _write(
        folder / PAGE,
        list_page(
            folder.name,
            list(_listed(_finished(folder), folder)),
            home=Path(os.path.relpath(results / PAGE, folder)).as_posix(),
            numbers=numbers,
            shown=pictures(folder, caption),
            files=files,
        ),
    )


def _write_list(results: Path) -> Path:
    found = _finished(results)
    members: dict[Path, int] = defaultdict(int)
    for run in found:
        members[run.parent] += 1
    groups = [
        (f"{folder.relative_to(results).as_posix()}/{PAGE}", f"{folder.name} ({count} runs)")
        for folder, count in sorted(members.items())
        if (folder / SWEEP_FILE).is_file() and (folder / PAGE).is_file()
    ]
    page = list_page("Results", list(_listed(found, results)), groups=groups)
    return _write(results / PAGE, page)


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
