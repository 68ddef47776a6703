"""What is made does not depend on where."""

import multiprocessing
from pathlib import Path

import pytest

from experiments.plan.scenario import ScenarioError
from experiments.plan.sweep import Cell, cells
from experiments.run.engine import in_processes, one_by_one
from experiments.run.sweep import run_sweep
from experiments.simulation.replications import simulate_one
from tests.unit.experiments.run.small_sweep import SMALL, sums


def test_runs_in_processes_are_the_same_to_the_last_byte(tmp_path: Path) -> None:
    todo = cells(SMALL, "here")
    for engine in (one_by_one, in_processes):
        made = run_sweep(todo, tmp_path / engine.__name__, simulate_one, engine)
        assert [outcome for _, outcome in made] == ["valid"] * len(todo)
    assert len(sums(tmp_path / "one_by_one")) == len(todo)
    assert sums(tmp_path / "one_by_one") == sums(tmp_path / "in_processes")


def test_an_error_of_one_is_passed_on_and_what_is_finished_stays(tmp_path: Path) -> None:
    good = cells(SMALL, "here")[:1]
    list(run_sweep(good, tmp_path, simulate_one, in_processes))
    refused = [
        Cell(good[0].scenario.model_copy(update={"system": "nginx"}), replicate=0),
        *cells(SMALL, "here")[1:],
    ]
    with pytest.raises(ScenarioError, match="system"):
        list(run_sweep(refused, tmp_path, simulate_one, in_processes))
    assert multiprocessing.active_children() == []
    made = run_sweep(cells(SMALL, "here"), tmp_path, simulate_one, in_processes)
    outcomes = [outcome for _, outcome in made]
    assert outcomes[0] == "skipped"
    assert set(outcomes) <= {"skipped", "valid"}


def test_whoever_stops_early_leaves_no_process_behind(tmp_path: Path) -> None:
    made = run_sweep(cells(SMALL, "here"), tmp_path, simulate_one, in_processes)
    next(made)
    made.close()
    assert multiprocessing.active_children() == []
