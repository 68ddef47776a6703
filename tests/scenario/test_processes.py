"""Programs that the testbed starts, here on this machine instead of inside a virtual host."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup

DEADLINE_S = 20.0
WAITS = "import time; print('ready', flush=True); time.sleep(60)"


def popen(host: str, argv: list[str], **options: Any) -> subprocess.Popen[Any]:
    return subprocess.Popen(argv, **options)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def deadline_s() -> float:
    return time.monotonic() + DEADLINE_S


def test_ready_then_stopped_by_sigterm(tmp_path: Path) -> None:
    code = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); {WAITS}"
    with ProcessGroup(popen, tmp_path) as group:
        process = group.start("b1", "backend", python(code))
        process.wait_ready("ready", deadline_s())
        assert process.running()
        process.stop()
        assert not process.running()


def test_leaving_the_group_ends_everything_even_after_an_error(tmp_path: Path) -> None:
    processes: list[HostProcess] = []

    def fail_while_running() -> None:
        with ProcessGroup(popen, tmp_path) as group:
            processes.extend(group.start(f"b{i}", "backend", python(WAITS)) for i in range(3))
            for process in processes:
                process.wait_ready("ready", deadline_s())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_running()
    assert len(processes) == 3
    for process in processes:
        with pytest.raises(ProcessFailed, match="-9"):
            process.running()


def test_one_that_ends_before_it_is_ready_is_quoted(tmp_path: Path) -> None:
    with ProcessGroup(popen, tmp_path) as group:
        process = group.start("b1", "backend", python("raise SystemExit('no such port')"))
        with pytest.raises(ProcessFailed, match="backend-b1 ended before it was ready") as caught:
            process.wait_ready("ready", deadline_s())
    assert "no such port" in str(caught.value)


def test_one_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    with ProcessGroup(popen, tmp_path) as group:
        process = group.start("b1", "backend", python("import time; time.sleep(60)"))
        with pytest.raises(ProcessFailed, match="not ready in time"):
            process.wait_ready("ready", time.monotonic() + 0.1)


def test_one_that_ignores_sigterm_is_killed_and_reported(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
    with ProcessGroup(popen, tmp_path) as group:
        process = group.start("b1", "backend", python(code))
        process.wait_ready("ready", deadline_s())
        with pytest.raises(ProcessFailed, match="ignored SIGTERM"):
            process.stop(grace_s=0.2)
