"""`report`: stored runs become a document."""

import importlib.util
from pathlib import Path

import click

from experiments.commands.common import HERE, console, results_option
from experiments.lab.ownership import hand_back
from experiments.present.lab import EXAMPLE

SHIPPED = EXAMPLE / "algorithms-simulated"


@click.command()
@click.argument("of", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--reports",
    type=click.Path(file_okay=False, path_type=Path),
    default=HERE.parent / "reports",
    help="Folder of all reports.",
)
@results_option
def report(of: Path | None, reports: Path, results: Path) -> None:
    """A course report as PDF and as a page, of the runs in a folder; the text stays yours.

    OF: a sweep's folder (results/NAME), or any with runs; default: the runs that are shipped.
    """
    if importlib.util.find_spec("typst") is None:
        raise click.ClickException("the report needs typst: make report installs it")
    from experiments.report.build import build

    made = build(of or SHIPPED, reports)
    console.print(f"  report   {made.pdf}\n  page     {made.page}", highlight=False, soft_wrap=True)
    new = " (made from the template, and never written again)" if made.is_new else ""
    console.print(f"  text     {made.text}{new}", highlight=False, soft_wrap=True)
    hand_back(reports)
