from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.__main__ import cli
from experiments.live.recorded import RECORDED, chosen_folder
from experiments.live.strip import strip
from experiments.present.compare import NoSuchRun, other_differences
from tests.unit.experiments.live.reels import golden, recorded

MOST_BYTES = 1_000_000


def test_the_shipped_runs_are_small_valid_and_of_the_same_arrivals() -> None:
    runs = [recorded(name) for name in RECORDED]
    files = [path for run in runs for path in run.path.iterdir()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} == {".json", ".parquet"}
    assert all(run.verdict["valid"] and len(run.faults) for run in runs)
    assert other_differences(runs) == []
    first, second = (run.requests[["client", "seq", "intended_s", "demand_ms"]] for run in runs)
    both = first.merge(second, on=["client", "seq"])
    assert len(both) == len(first) == len(second)
    assert (both["intended_s_x"] - both["intended_s_y"]).abs().max() < 1e-6


def test_no_path_of_the_machine_that_made_them_is_shipped() -> None:
    for name in RECORDED:
        assert recorded(name).manifest["argv"] == ["run", "--scenario", "failover", "--alg", name]


def test_making_a_run_small_changes_no_value(tmp_path: Path) -> None:
    run = golden()
    strip(run, tmp_path / "small")
    small = type(run)(tmp_path / "small")
    assert small.requests.equals(run.requests)
    assert small.samples.equals(run.samples)
    assert small.verdict == run.verdict
    assert not (tmp_path / "small" / "flows.parquet").exists()


def test_a_run_is_found_by_path_and_by_name_and_else_what_there_is_is_said(tmp_path: Path) -> None:
    assert chosen_folder(str(golden().path), tmp_path) == golden().path
    assert chosen_folder("round_robin", tmp_path).name == "round_robin"
    with pytest.raises(NoSuchRun, match=r"least_conn, round_robin"):
        chosen_folder("nobody", tmp_path)


@pytest.mark.parametrize("command", ["demo", "watch"])
def test_a_run_that_ended_early_has_nothing_to_show(tmp_path: Path, command: str) -> None:
    (tmp_path / "manifest.json").write_bytes((golden().path / "manifest.json").read_bytes())
    result = CliRunner().invoke(cli, [command, str(tmp_path)])
    assert result.exit_code == 1
    assert "ended before anything was measured" in result.output


def test_three_runs_are_too_many() -> None:
    result = CliRunner().invoke(cli, ["demo", "a", "b", "c"])
    assert result.exit_code == 2
    assert "one run, or two" in result.output
