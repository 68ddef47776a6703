from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from experiments.plan.scenario import ScenarioError
from experiments.plan.sweep import (
    AGAIN,
    Cell,
    Sweep,
    cells,
    load_sweep,
    narrowed,
    write_sweep,
)
from experiments.run.sweep import SweepAtWork, alone_in, run_sweep
from experiments.tables.dataset import RunWriter, load_run
from experiments.tables.sweep import INVALID, Made, made_of

SWEEPS = sorted(Path("experiments/sweeps").glob("*.yaml"))
SMALL = Sweep(algorithms=("random", "least_conn"), loss_pct=(0, 1), delay_ms=(5, 20), replicates=3)


class Interrupted(Exception):
    pass


def finish(number: int, cell: Cell, path: Path, *, valid: bool = True) -> bool:
    writer = RunWriter(path)
    writer.write_manifest({"scenario": cell.scenario.model_dump(mode="json")})
    writer.write_verdict({"valid": valid, "reasons": [] if valid else ["late"]})
    return valid


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_expands(path: Path) -> None:
    assert cells(load_sweep(path), str(path))


def test_the_matrix_is_complete_and_every_run_has_a_folder_of_its_own() -> None:
    made = cells(SMALL, "here")
    once = [cell for cell in made if not cell.again]
    assert len(once) == 2 * 2 * 2 * 3
    assert len({cell.run_id for cell in made}) == len(made)
    assert Counter(cell.scenario.algorithm for cell in once) == {"random": 12, "least_conn": 12}


def test_one_cell_is_made_twice_with_the_same_seeds() -> None:
    made = cells(SMALL, "here")
    again = [cell for cell in made if cell.again]
    assert [cell.replicate for cell in again] == [0, 1, 2]
    for cell in again:
        first = next(each for each in made if each.run_id == cell.run_id.removesuffix(AGAIN))
        assert first.scenario == cell.scenario


def test_any_setting_is_a_factor() -> None:
    factors = {"workload.load": (0.5, 0.7), "backends.speeds": ([1, 1], [1, 4])}
    shared = {"network": {"backends": 2}}
    sweep = Sweep(algorithms=("random",), factors=factors, replicates=1, scenario=shared)
    once = [cell for cell in cells(sweep, "here") if not cell.again]
    found = {(cell.scenario.workload.load, cell.scenario.backends.speeds) for cell in once}
    assert found == {(0.5, (1, 1)), (0.5, (1, 4)), (0.7, (1, 1)), (0.7, (1, 4))}
    assert any("-load0.5-speeds1_4-r0-" in cell.run_id for cell in once)


def test_a_setting_from_the_command_line_holds_in_all_cells_and_leaves_one_level() -> None:
    sweep = SMALL.model_copy(update={"factors": {"workload.load": (0.5, 0.7)}})
    given = {
        "algorithm": "random",
        "network.client_link.loss_pct": 5.0,
        "workload.load": 0.9,
        "duration_s": 7.0,
    }
    scenarios = [cell.scenario for cell in cells(narrowed(sweep, given, "here"), "here")]
    assert {each.algorithm for each in scenarios} == {"random"}
    assert {each.network.client_link.loss_pct for each in scenarios} == {5.0}
    assert {each.network.client_link.delay_ms for each in scenarios} == {5.0, 20.0}
    assert {(each.workload.load, each.duration_s) for each in scenarios} == {(0.9, 7.0)}


def test_nothing_given_is_the_same_sweep_and_a_sweep_can_be_stored(tmp_path: Path) -> None:
    assert narrowed(SMALL, {}, "here") == SMALL
    sweep = SMALL.model_copy(update={"factors": {"workload.load": (0.5,)}, "baseline": "random"})
    write_sweep(sweep, tmp_path / "sweep.yaml")
    assert load_sweep(tmp_path / "sweep.yaml") == sweep


def test_a_baseline_that_is_left_out_is_none() -> None:
    sweep = SMALL.model_copy(update={"baseline": "least_conn"})
    assert narrowed(sweep, {"algorithm": "random"}, "here").baseline is None


def test_more_replicates_append() -> None:
    fewer = cells(SMALL, "here")
    assert cells(SMALL, "here", 5)[: len(fewer)] == fewer


def test_order_is_shuffled_within_replicates_and_repeatable() -> None:
    made = cells(SMALL, "here")
    assert made == cells(SMALL, "here")
    assert made != cells(SMALL.model_copy(update={"seed": 2}), "here")
    assert [cell.replicate for cell in made] == [0] * 9 + [1] * 9 + [2] * 9
    blocks = [[cell.run_id.split("-r")[0] for cell in made[i : i + 9]] for i in (0, 9, 18)]
    assert blocks[0] != blocks[1], "each replicate has an order of its own"
    assert sorted(blocks[0]) == sorted(blocks[1]) == sorted(blocks[2])


def test_a_replicate_has_one_seed_under_every_algorithm() -> None:
    seeds = {(cell.replicate, cell.scenario.seed) for cell in cells(SMALL, "here")}
    assert seeds == {(0, 1), (1, 2), (2, 3)}


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    todo = cells(SMALL, "here")

    def run(number: int, cell: Cell, path: Path) -> bool:
        if cell is todo[4]:
            RunWriter(path).write_manifest({})  # begun, no verdict
            raise Interrupted
        return finish(number, cell, path)

    with pytest.raises(Interrupted):
        list(run_sweep(todo, tmp_path, run))
    outcomes = [outcome for _, outcome in run_sweep(todo, tmp_path, finish)]
    assert outcomes == ["skipped"] * 4 + ["valid"] * 23
    assert {outcome for _, outcome in run_sweep(todo, tmp_path, finish)} == {"skipped"}


def test_an_invalid_run_is_made_again(tmp_path: Path) -> None:
    todo = cells(SMALL, "here")[:1]
    first = list(run_sweep(todo, tmp_path, partial(finish, valid=False)))
    again = list(run_sweep(todo, tmp_path, finish))
    assert [first[0][1], again[0][1]] == ["invalid", "valid"]
    kept = load_run(tmp_path / f"{todo[0].run_id}{INVALID}1")
    assert kept.verdict["reasons"] == ["late"]
    made = made_of(SMALL.model_copy(update={"scenario": {}}), tmp_path)
    assert made == Made(planned=27, valid=1, invalid=0, made_again=1)


def test_a_changed_scenario_is_another_run(tmp_path: Path) -> None:
    list(run_sweep(cells(SMALL, "here"), tmp_path, finish))
    longer = SMALL.model_copy(update={"scenario": {"duration_s": 60}})
    assert {outcome for _, outcome in run_sweep(cells(longer, "here"), tmp_path, finish)} == {
        "valid"
    }


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("algorithms: []", "algorithms"),
        ("algorithms: [random]\nlosses: [1]", "losses"),
        ("algorithms: [random]\nreplicates: 0", "replicates"),
        ("algorithms: [random]\nfactors: {seed: [1, 2]}", "factors: seed"),
        ("algorithms: [random]\nfactors: {workload.load: []}", "factors: workload.load"),
        ("algorithms: [random]\nbaseline: least_conn", "baseline least_conn: not one"),
        ("algorithms: [random]\nscenario: {seed: 4, name: x}", "scenario: name, seed"),
    ],
)
def test_a_bad_sweep_names_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=rf"sweep\.yaml: {key}"):
        load_sweep(path)


def test_an_unknown_algorithm_in_a_sweep_is_found_before_the_first_run() -> None:
    with pytest.raises(ScenarioError, match="fastest"):
        cells(Sweep(algorithms=("random", "fastest")), "here")


@pytest.mark.parametrize("network", [None, 5, {"client_link": None}])
def test_a_shared_scenario_that_is_no_settings_is_named(network: object) -> None:
    with pytest.raises(ScenarioError, match="here: network"):
        cells(Sweep(algorithms=("random",), scenario={"network": network}), "here")


def test_two_sweeps_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "sweep"):
        with alone_in(tmp_path / "other"):
            pass
        with pytest.raises(SweepAtWork, match="sweep"), alone_in(tmp_path / "sweep"):
            pass
    with alone_in(tmp_path / "sweep"):
        pass
