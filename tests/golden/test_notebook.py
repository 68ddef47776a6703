"""The notebook runs from its first cell to its last on the stored runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from experiments.present.notebook import NOTEBOOK, executed, write_page

RUNS = Path(__file__).resolve().parent / "runs"


def pages(notebook: nbformat.NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield output.get("data", {}).get("text/html", "") or output.get("text", "")


@pytest.mark.slow
def test_without_results_it_shows_the_shipped_runs(tmp_path: Path) -> None:
    shown = list(pages(executed(tmp_path)))
    assert "the repository ships" in shown[0]
    assert sum("<img alt=" in page for page in shown) >= 10


@pytest.mark.slow
def test_one_run_of_ones_own_is_enough_also_for_the_page(tmp_path: Path) -> None:
    name = "random-loss0-delay5-seed2"
    shutil.copytree(RUNS / "golden" / name, tmp_path / "mine" / name)
    page = write_page(tmp_path, tmp_path / "analysis.html").read_text()
    assert "1 valid runs" in page
    assert "one algorithm only: nothing to compare" in page
    assert "Traceback" not in page


def test_it_is_stored_with_outputs_for_whoever_reads_it_on_a_code_host() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    stored = NOTEBOOK.read_text()
    assert "Traceback" not in stored
    assert str(NOTEBOOK.parents[1]) not in stored, "a path of the machine that made it"
    assert len(stored) < 2_000_000
