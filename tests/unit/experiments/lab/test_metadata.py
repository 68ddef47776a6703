import platform
import subprocess
from pathlib import Path

import orjson
import pytest

from experiments.lab import metadata
from experiments.plan.scenario import Scenario
from experiments.tables.dataset import RunWriter, load_run


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_manifest_can_be_stored_and_read_back(tmp_path: Path) -> None:
    scenario = Scenario(algorithm="random", seed=7)
    content = metadata.manifest(
        scenario.model_dump(mode="json"), {"congestion_control": "cubic"}, argv=["x"]
    )
    RunWriter(tmp_path / "run").write_manifest(content)
    stored = load_run(tmp_path / "run").manifest
    assert stored["scenario"]["algorithm"] == "random"
    assert stored["scenario_sha256"] == scenario.digest()
    assert stored["seeds"] == {"scenario": 7}
    assert stored["network"] == {"congestion_control": "cubic"}
    assert stored["argv"] == ["x"]
    assert stored["versions"]["python"] == platform.python_version()
    assert platform.release() in stored["versions"]["kernel"]
    assert "pyarrow" in stored["versions"]["packages"]
    assert stored["machine"]["cpu_count"] >= 1
    assert {"cpu_flags", "smt_active", "clocksource", "timer_hz"} <= stored["machine"].keys()
    assert stored["machine"]["cgroup_version"] in (1, 2, None)
    assert "tcp_congestion_control" in stored["tcp_sysctls"]
    assert stored["started_utc"].endswith("+00:00")


def test_git_says_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert metadata.git_state(tmp_path) == {"commit": commit, "dirty": False, "diff": ""}
    (tmp_path / "file").write_text("two")
    changed = metadata.git_state(tmp_path)
    assert (changed["commit"], changed["dirty"]) == (commit, True)
    assert "-one" in changed["diff"]
    assert "+two" in changed["diff"]


def test_outside_of_git_and_without_git_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert metadata.git_state(tmp_path) == {"commit": None, "dirty": None, "diff": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    content = metadata.manifest({"seed": 1}, {})
    assert content["git"] == {"commit": None, "dirty": None, "diff": None}
    assert set(content["versions"]["tools"].values()) == {None}
    assert orjson.dumps(content)
