"""The notebook, executed: with its outputs, and as a page."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from experiments.present.lab import EXAMPLE, ROOT

NOTEBOOK = ROOT / "notebooks" / "analysis.ipynb"
VARIABLE = "NGINY_RESULTS"
_CELL_TIMEOUT_S = 120


def executed(results: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that the runs in `results` give; a cell that fails raises
    nbclient's CellExecutionError, with the cell and the error in it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(results)
    try:
        client = NotebookClient(
            notebook,
            timeout=_CELL_TIMEOUT_S,
            record_timing=False,  # the same runs give the same file
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        return client.execute()
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def store_outputs() -> Path:
    """Those of the shipped runs, into the notebook itself."""
    notebook = executed(EXAMPLE)
    notebook.metadata.pop("language_info", None)  # it names this machine's version of Python
    nbformat.write(notebook, NOTEBOOK)
    return NOTEBOOK


def write_page(results: Path, into: Path) -> Path:
    """The executed notebook as one HTML file, which needs nothing else but for its formulas."""
    exporter = HTMLExporter(template_name="lab")
    body, _ = exporter.from_notebook_node(executed(results))
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(body)
    return into
