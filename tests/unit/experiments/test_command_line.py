import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.__main__ import cli, main
from experiments.judge.verdict import Check, Verdict, rejected
from experiments.lab.ownership import hand_back
from experiments.plan.scenario import Scenario
from experiments.present.progress import RunProgress
from experiments.tables.dataset import RunWriter, load_run
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
        ("--backends", "0", "1<=x<=100000"),
        ("--clients", "two", "not a valid"),
        ("--load", "0", "0<x<=2"),
        ("--duration", "0.5", "1<=x<=86400"),
        ("--seed", "-1", "0<=x<=4294967295"),
        ("--proto", "sctp", "'tcp', 'udp'"),
        ("--precision", "high", "'normal', 'strict'"),
        ("--figures", "all", "'valid', 'anyway'"),
    ],
)
def test_a_bad_value_names_its_option_and_the_good_range(
    option: str, value: str, range_: str
) -> None:
    output = refuse("run", option, value)
    assert option in output
    assert range_ in output


@pytest.mark.parametrize(
    ("arguments", "there_are"),
    [
        (
            ["run", "--scenario", "fialover"],
            ["failover", "default", "udp", "experiments/scenarios"],
        ),
        (["sweep", "defualt"], ["default", "experiments/sweeps"]),
        (["run", "--scenario", "experiments"], ["failover"]),
    ],
)
def test_an_unknown_name_lists_what_there_is(
    arguments: list[str],
    there_are: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"{arguments[-1]}: neither a file nor a name" in error
    assert all(name in error for name in there_are)


@pytest.mark.parametrize("asked", ["failover", "experiments/scenarios/failover.yaml"])
def test_a_scenario_is_found_by_name_and_by_path(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        "experiments.commands.making.run_experiment", a_run_whose_link_is_not_what_was_asked
    )
    result = CliRunner().invoke(cli, ["run", "--scenario", asked, "--results", str(tmp_path)])
    assert result.exit_code == 3, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failover", "index.html", "latest"]


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
        "experiments.commands.making.run_experiment", a_run_whose_link_is_not_what_was_asked
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


def scenario_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> Scenario:
    """What `run` would make."""
    made: list[Scenario] = []

    def remember(scenario: Scenario, folder: Path, progress: RunProgress) -> Verdict:
        made.append(scenario)
        return a_run_whose_link_is_not_what_was_asked(scenario, folder, progress)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr("experiments.commands.making.run_experiment", remember)
    CliRunner().invoke(cli, ["run", *arguments, "--results", str(tmp_path)])
    (scenario,) = made
    return scenario


def test_udp_has_a_scenario_of_its_own_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    udp = scenario_of(monkeypatch, tmp_path, "--proto", "udp")
    assert (udp.name, udp.protocol) == ("udp", "udp")
    assert scenario_of(monkeypatch, tmp_path).name == "default"
    named = ("--proto", "udp", "--scenario", "experiments/scenarios/failover.yaml")
    failover = scenario_of(monkeypatch, tmp_path, *named)
    assert (failover.name, failover.protocol) == ("failover", "udp")


def test_precision_is_a_setting_of_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scenario_of(monkeypatch, tmp_path).precision == "normal"
    assert scenario_of(monkeypatch, tmp_path, "--precision", "strict").precision == "strict"


def test_a_duration_leaves_the_warm_up_of_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scenario_of(monkeypatch, tmp_path, "--duration", "10")
    assert (asked.duration_s, asked.warmup_s) == (10, 3)
    asked = scenario_of(monkeypatch, tmp_path, "--duration", "10", "--warmup", "1")
    assert asked.warmup_s == 1


@pytest.mark.parametrize(("given", "code"), [("RUNS=least_conn nginx:random", 0), ("LOS=1", 2)])
def test_make_takes_values_with_blanks_and_refuses_variables_it_does_not_know(
    given: str, code: int
) -> None:
    done = subprocess.run(["make", "-n", "compare", given], capture_output=True, text=True)
    assert done.returncode == code
    assert ("unknown variable LOS" in done.stderr) is (code == 2)


GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "runs" / "golden"


def disturbed_runs(*valid: bool) -> tuple[list[Path], Callable[..., Verdict]]:
    """Where runs were made, and a maker of stored runs that are valid or disturbed, in turn."""
    made: list[Path] = []

    def run_one(scenario: Scenario, folder: Path, progress: RunProgress) -> Verdict:
        ok = valid[len(made)]
        verdict = Verdict((Check("precision", ok, "30 ms late", "links late"),))
        shutil.copytree(GOLDEN / "random-loss0-delay5-seed2", folder)
        stored = {"schema_version": 2, **verdict.to_json()}
        (folder / "verdict.json").write_text(json.dumps(stored))
        made.append(folder)
        return verdict

    return made, run_one


@pytest.mark.parametrize(
    ("valid", "arguments", "code", "figures"),
    [
        ((False, True), [], 0, [True, False]),
        ((False, False), [], 3, [False, False]),
        ((False, False), ["--figures", "anyway"], 3, [True, False]),
    ],
)
def test_a_disturbed_run_is_made_again_by_itself_and_drawn_only_on_request(
    valid: tuple[bool, ...],
    arguments: list[str],
    code: int,
    figures: list[bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, run_one = disturbed_runs(*valid)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr("experiments.commands.making.run_experiment", run_one)
    result = CliRunner().invoke(cli, ["run", *arguments, "--results", str(tmp_path)])
    assert result.exit_code == code, result.output
    assert made[0] == made[1], "the second takes the name"
    kept = made[0].with_name(f"{made[0].name}-disturbed")
    assert result.output.count("the run is made once more") == 1
    assert [(path / "figures").exists() for path in (made[0], kept)] == figures
    assert load_run(kept).verdict["valid"] is False


def makefile_help() -> str:
    return subprocess.run(
        ["make", "--no-print-directory", "help"], capture_output=True, text=True, check=True
    ).stdout


def test_the_algorithms_that_make_help_names_exist() -> None:
    text = re.search(r"^  ALG (.*?)\.\.\.", makefile_help(), re.DOTALL | re.MULTILINE)
    assert text is not None
    named = re.findall(r"[a-z_]+", text[1])
    assert len(named) >= 5
    assert set(named) <= set(ALGORITHMS)
    assert ".venv/bin/nginy algorithms" in makefile_help()


def test_every_variable_of_make_experiment_is_an_option_and_in_the_help() -> None:
    makefile = Path("Makefile").read_text()
    pairs = dict(re.findall(r"call override,([A-Z]+),([a-z]+)", makefile))
    options = {option.name for command in cli.commands.values() for option in command.params}
    assert {"path" if name == "scenario" else name for name in pairs.values()} <= options
    known = re.search(r"^VARIABLES := (.*)$", makefile, re.MULTILINE)
    assert known is not None
    assert pairs.keys() <= set(known[1].split())
    assert all(re.search(rf"^  {name} ", makefile_help(), re.MULTILINE) for name in pairs)


def test_the_command_line_needs_no_optional_dependency() -> None:
    """make experiment, on a fresh machine, installs only what all need."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    always = re.search(r"^extras=(.*)$", Path("experiments/setup.sh").read_text(), re.MULTILINE)
    assert always is not None

    def modules(*names: str) -> set[str]:
        needed = (re.split(r"[<>=]", each)[0] for name in names for each in extras[name])
        return {each.replace("-", "_") for each in needed}

    there = always[1].split(",")
    missing = modules(*(extras.keys() - there)) - modules(*there)
    script = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    script += "import nginy.cli, experiments.__main__ as all; all.cli(['--help'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_what_is_given_to_make_reaches_a_run() -> None:
    """Not what make or the environment call the same: CC is the C compiler."""

    def asked(*given: str) -> list[str]:
        words = ["make", "--no-print-directory", "-n", "experiment", *given]
        environment = {**os.environ, "CC": "gcc", "NAME": "laptop"}
        printed = subprocess.run(
            words, capture_output=True, text=True, check=True, env=environment
        ).stdout
        return printed.splitlines()[-1].split()[4:]

    assert asked() == []
    assert asked("CC=bbr", "LOSS=1") == ["--loss", "'1'", "--cc", "'bbr'"]


def test_latest_leads_to_the_newest_run(tmp_path: Path) -> None:
    words = ["simulate", "--duration", "2", "--warmup", "1", "--results", str(tmp_path)]
    for seed in ("1", "2"):
        assert CliRunner().invoke(cli, [*words, "--seed", seed]).exit_code in (0, 3)
    assert json.loads((tmp_path / "latest" / "manifest.json").read_text())["seeds"] == {
        "scenario": 2
    }
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()  # somebody's own
    assert CliRunner().invoke(cli, [*words, "--seed", "3"]).exit_code in (0, 3)
    assert list((tmp_path / "latest").iterdir()) == []
