"""Stored runs against each other."""

import json
import shutil
from pathlib import Path

import pytest

from experiments.present.compare import (
    NoSuchRun,
    chosen_runs,
    draw_comparison,
    other_differences,
)

RUNS = Path(__file__).resolve().parents[3] / "golden" / "runs"


def test_an_algorithm_stands_for_all_its_runs_under_the_same_conditions() -> None:
    runs = chosen_runs(["least_conn", "random"], RUNS)
    assert {run.manifest["scenario"]["algorithm"] for run in runs} == {"least_conn", "random"}
    assert len(runs) == 6
    assert other_differences(runs) == []
    links = [run.manifest["scenario"]["network"]["client_link"] for run in runs]
    assert all(link == links[0] for link in links)


def test_a_newer_run_under_other_conditions_is_no_obstacle(tmp_path: Path) -> None:
    """Whoever has just run one algorithm as he ran the other before compares these two."""
    runs = ["least_conn-loss0-delay5-seed1", "random-loss0-delay5-seed1"]
    for place, name in enumerate([*runs, "least_conn-loss0-delay25-seed1"]):
        copied = shutil.copytree(RUNS / "golden" / name, tmp_path / "some" / name)
        manifest = json.loads((copied / "manifest.json").read_text())
        manifest["started_utc"] = f"2026-01-01T00:00:0{place}+00:00"
        (copied / "manifest.json").write_text(json.dumps(manifest))
    found = [run.run_id for run in chosen_runs(["least_conn", "random"], tmp_path)]
    assert found == runs
    with pytest.raises(NoSuchRun, match=r"random: never run under the same conditions"):
        chosen_runs(["least_conn-loss0-delay25-seed1", "random"], tmp_path)


def test_runs_by_name_may_differ_in_anything_and_that_is_said() -> None:
    names = ["least_conn-loss0-delay5-seed1", "random-loss0-delay25-seed1"]
    (difference,) = other_differences(chosen_runs(names, RUNS))
    assert difference == "network.client_link.delay_ms: 5.0, 25.0"


def test_what_is_not_there_is_answered_with_what_is() -> None:
    with pytest.raises(NoSuchRun, match=r"neither a run .*there are: least_conn, random"):
        chosen_runs(["fastest"], RUNS)


def test_one_picture_of_all(tmp_path: Path) -> None:
    drawn = draw_comparison(chosen_runs(["least_conn", "random"], RUNS), tmp_path)
    assert [path.name for path in drawn] == [
        "latency_ccdf-least_conn-random.png",
        "latency_ccdf-least_conn-random.svg",
    ]
