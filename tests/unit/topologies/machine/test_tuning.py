"""The machine's list of allowed congestion controls, here a file in a temporary folder."""

from pathlib import Path
from typing import Any

import pytest

from topologies.errors import MachineLacks
from topologies.machine import record, tuning

LIST = "tcp_allowed_congestion_control"


@pytest.fixture
def sysctls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tcp_available_congestion_control").write_text("reno cubic bbr\n")
    (tmp_path / LIST).write_text("reno bbr\n")
    monkeypatch.setattr(tuning, "IPV4_SYSCTLS", tmp_path)
    monkeypatch.setattr(record, "STATE_DIR", tmp_path / "state")
    return tmp_path


def refuse(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Every write fails, as the kernel's do."""

    def write_text(path: Path, *_: Any) -> int:
        raise error

    monkeypatch.setattr(Path, "write_text", write_text)


def test_allowed_for_the_moment_and_then_as_before(sysctls: Path) -> None:
    with tuning.allowed("cubic"):
        assert (sysctls / LIST).read_text().split() == ["reno", "bbr", "cubic"]
    assert (sysctls / LIST).read_text() == "reno bbr\n"


def test_what_is_allowed_needs_no_writing(sysctls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    with tuning.allowed("bbr"):
        assert (sysctls / LIST).read_text() == "reno bbr\n"


def test_in_a_container_the_message_says_what_to_run_outside(
    sysctls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, PermissionError(13, "Permission denied"))
    with pytest.raises(MachineLacks, match="congestion_control='reno bbr cubic'"):
        tuning.set_congestion_control([], "cubic")


def test_what_the_kernel_does_not_have_is_told_apart(
    sysctls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, FileNotFoundError(2, "No such file or directory"))
    with pytest.raises(MachineLacks, match=r"no congestion control 'fast' \(it has: reno cubic"):
        tuning.set_congestion_control([], "fast")
