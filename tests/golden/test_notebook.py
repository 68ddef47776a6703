"""The notebook runs from its first cell to its last on the stored runs."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"
RUNS = ROOT / "tests" / "golden" / "runs"

pytestmark = pytest.mark.slow


def executed(results: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """A cell that fails raises here."""
    monkeypatch.setenv("NGINY_RESULTS", str(results))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=100, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    return client.execute()


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    )


def images(notebook: nbformat.NotebookNode) -> int:
    return sum(
        "image/png" in output.get("data", {})
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


def test_without_results_it_shows_the_stored_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed(tmp_path, monkeypatch)
    assert "golden: 24 valid runs" in printed(notebook)
    assert images(notebook) == 6


def test_one_run_of_ones_own_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "random-loss0-delay5-seed2"
    shutil.copytree(RUNS / "golden" / name, tmp_path / "mine" / name)
    notebook = executed(tmp_path, monkeypatch)
    assert "mine: 1 valid runs" in printed(notebook)
    assert images(notebook) == 6


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
