import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.__main__ import cli, main
from experiments.dataset import RunWriter
from experiments.ownership import hand_back
from experiments.progress import RunProgress
from experiments.scenario import Scenario
from experiments.verdict import Verdict, rejected
from nginy.balancer.registry import ALGORITHMS


def refuse(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2, result.output
    return result.output


def test_an_unknown_algorithm_lists_the_good_ones() -> None:
    output = refuse("run", "--alg", "leastconn")
    assert "leastconn" in output
    assert all(name in output for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("option", "value", "range_"),
    [
        ("--loss", "100", "0<=x<100"),
        ("--loss", "1%", "not a valid"),
        ("--delay", "-1", "0<=x<=10000"),
        ("--rate", "0", "0.1<=x<=10000"),
        ("--backends", "0", "1<=x<=50"),
        ("--clients", "two", "not a valid"),
        ("--load", "0", "0<x<=2"),
        ("--duration", "0.5", "1<=x<=86400"),
        ("--seed", "-1", "0<=x<=4294967295"),
    ],
)
def test_a_bad_value_names_its_option_and_the_good_range(
    option: str, value: str, range_: str
) -> None:
    output = refuse("run", option, value)
    assert option in output
    assert range_ in output


def test_without_root_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(cli, ["run"])
    assert result.exit_code == 1
    assert "virtual networks need root: sudo" in result.output


def test_a_bad_sweep_file_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("algorithms: [round_robin, magic]\n")
    monkeypatch.setattr(sys, "argv", ["experiments", "sweep", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "unknown algorithm 'magic'" in capsys.readouterr().err


def a_run_whose_link_is_not_what_was_asked(
    scenario: Scenario, folder: Path, progress: RunProgress
) -> Verdict:
    verdict = rejected("links", ["c1-s1: median RTT asked 20 ms, measured 0.1 ms"])
    writer = RunWriter(folder)
    writer.write_manifest({"scenario": scenario.model_dump(mode="json")})
    writer.write_verdict(verdict.to_json())
    return verdict


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_an_invalid_run_ends_with_code_3_and_names_the_link(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr(
        "experiments.__main__.run_experiment", a_run_whose_link_is_not_what_was_asked
    )
    path = tmp_path / "sweep.yaml"
    path.write_text("algorithms: [random]\nreplicates: 1\n")
    given = [str(path)] if command == "sweep" else ["--delay", "10"]
    result = CliRunner().invoke(cli, [command, *given, "--results", str(tmp_path)])
    assert result.exit_code == 3, result.output
    assert "invalid" in result.output
    assert "c1-s1: median RTT" in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_results_go_to_the_user_who_called_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    results = tmp_path / "results"
    (results / "run").mkdir(parents=True)
    (results / "run" / "verdict.json").touch()
    (results / "link").symlink_to(outside)
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setenv("SUDO_GID", "54321")
    hand_back(results)
    owned = (results, results / "run", results / "run" / "verdict.json")
    assert {(path.stat().st_uid, path.stat().st_gid) for path in owned} == {(12345, 54321)}
    assert outside.stat().st_uid == 0
