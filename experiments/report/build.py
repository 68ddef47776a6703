"""A folder of runs becomes a report: data, figures, the student's text, PDF and HTML."""

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import orjson
import typst

from experiments import figures
from experiments.analysis.caption import NO_CAPTION
from experiments.analysis.summary import sweep_table
from experiments.plan.sweep import Sweep, column
from experiments.present.draw import network_svg, sweep_figures
from experiments.report.data import cited
from experiments.tables.dataset import Run, load_runs
from experiments.tables.sweep import sweep_in
from nginy.errors import NginyError

TEMPLATE = Path(__file__).parent / "template"
ONCE = ("report.typ", "references.bib")
"""The student's own: made once, never written again."""


class ReportError(NginyError):
    """The report cannot be built; the message says where and why."""


class Report(NamedTuple):
    """What was written."""

    pdf: Path
    page: Path
    text: Path
    is_new: bool
    """The text was made by this."""


def build(results: Path, reports: Path) -> Report:
    """The report of the runs in `results`, in a folder of the same name below `reports`.

    Raises:
        ReportError: no valid runs, or a citation that they do not carry.
    """
    everything = load_runs(results, valid_only=False)
    runs = [run for run in everything if run.verdict["valid"]]
    if not runs:
        raise ReportError(f"{results}: no valid run to report ({len(everything)} invalid)")
    folder = reports / results.resolve().name
    folder.mkdir(parents=True, exist_ok=True)
    is_new = not (folder / "report.typ").exists()
    for name in ONCE:
        if not (folder / name).exists():
            shutil.copyfile(TEMPLATE / name, folder / name)
    shutil.copyfile(TEMPLATE / "nginy.typ", folder / "nginy.typ")
    invalid = [run for run in everything if not run.verdict["valid"]]
    _write(runs, invalid, sweep_in(results), folder)
    pdf, page = folder / "report.pdf", folder / "report.html"
    newest = max(run.manifest["started_utc"] for run in runs)
    for path in (pdf, page):
        compile_report(folder, path, datetime.fromisoformat(newest))
    return Report(pdf, page, folder / "report.typ", is_new)


def _write(runs: Sequence[Run], invalid: Sequence[Run], sweep: Sweep | None, folder: Path) -> None:
    """data.json and the figures, without captions in the pictures."""
    factors = list(sweep.factors) if sweep else []
    table = sweep_table(runs, factors)
    pictures = folder / "figures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    for name, figure in sweep_figures(runs, table, NO_CAPTION, sweep):
        figures.save(figure, pictures / name, kinds=("svg",))
    drawn = sorted(path.stem for path in pictures.iterdir())
    (pictures / "topology.svg").write_text(network_svg(runs[-1]))
    data = cited(runs, invalid, table, [column(name) for name in factors]) | {"figures": drawn}
    (folder / "data.json").write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def compile_report(folder: Path, into: Path, when: datetime) -> None:
    """Its PDF or page. The same inputs give the same bytes: no fonts of the machine, the newest
    run's time. Raises ReportError with the line of a citation that the runs do not carry."""
    kind: Literal["html", "pdf"] = "html" if into.suffix == ".html" else "pdf"
    try:
        typst.compile(
            folder / "report.typ",
            output=into,
            root=folder,
            format=kind,
            ignore_system_fonts=True,
            timestamp=when,
        )
    except typst.TypstError as error:
        raise ReportError(str(error.diagnostic or error.message)) from error
