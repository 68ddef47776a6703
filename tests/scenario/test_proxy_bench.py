"""The benchmark's lab: a small run from end to end, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.bench.lab import Lab, LabError
from experiments.bench.report import FLOORS

pytestmark = pytest.mark.root


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines() if "nginy-bench-" in line}


def test_lab_is_removed_with_its_programs_after_an_error(tmp_path):
    before = namespaces()
    with pytest.raises(ZeroDivisionError):
        fail_inside(tmp_path, before)
    assert namespaces() - before == set()
    pid = int((tmp_path / "sleeper.log").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def fail_inside(log_dir: Path, before: set[str]) -> None:
    with Lab(log_dir) as lab:
        assert len(namespaces() - before) == 3
        lab.start("client", "sleeper", ["sh", "-c", "echo $$; exec sleep 600"])
        started = f"until test -s {log_dir}/sleeper.log; do sleep 0.01; done"
        lab.run("client", ["sh", "-c", started], timeout_s=10)
        lab.run("client", ["ping", "-c", "1", "-W", "5", "10.11.2.2"])
        raise ZeroDivisionError


def test_what_a_killed_benchmark_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from experiments.bench.lab import Lab\n"
        "with Lab(Path(sys.argv[1])) as lab:\n"
        "    lab.start('client', 'sleeper', ['sleep', '600'])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    before = namespaces()
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    left = namespaces() - before
    assert len(left) == 3
    with Lab(tmp_path):
        assert left & namespaces() == set()
    assert namespaces() - before == set()


def test_a_program_that_fails_is_quoted(tmp_path):
    with Lab(tmp_path) as lab, pytest.raises(LabError, match="no such thing"):
        lab.run("client", ["sh", "-c", "echo no such thing >&2; exit 3"])


@pytest.mark.slow
def test_a_small_run_verifies_payloads_and_measures_everything(tmp_path):
    before = namespaces()
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "experiments.bench", "--rounds", "1", "--seconds", "1"]
    done = subprocess.run(
        [*command, "--bulk-mib", "16", "--json", str(path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (0, 1), done.stderr  # the floors are for a quiet machine to judge
    samples = json.loads(path.read_text())["samples"]
    measured = {(sample["workload"], sample["system"]) for sample in samples}
    assert measured == {
        (work, system) for work in FLOORS for system in ("direct", "nginx", "nginy")
    }
    assert all(sample["rate"] > 0 for sample in samples)
    assert all(workload in done.stdout for workload in FLOORS)
    assert namespaces() - before == set()
