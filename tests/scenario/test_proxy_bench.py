"""The benchmark's lab: a small run from end to end, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments.bench.lab import Lab
from experiments.bench.needs import BenchError
from experiments.bench.program import running
from experiments.bench.report import WORKLOADS

BENCH = [sys.executable, "-m", "experiments.bench", "--rounds", "1", "--seconds", "1"]
SYSTEMS_OF = {
    "requests": {"direct", "nginx", "haproxy", "other", "nginy"},
    "connections": {"direct", "nginx", "haproxy", "other", "nginy"},
    "bulk": {"direct", "nginx", "haproxy", "other", "nginy"},
    "tcp-memory": {"nginx", "haproxy", "other", "nginy"},
    "udp-round-trips": {"nginx", "other", "nginy"},
    "udp-sessions": {"nginx", "other", "nginy"},
    "udp-memory": {"nginx", "other", "nginy"},
}

pytestmark = pytest.mark.root


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines() if "nginy-bench-" in line}


def test_lab_is_removed_with_its_programs_after_an_error(tmp_path):
    before = namespaces()
    with pytest.raises(ZeroDivisionError):
        fail_inside(tmp_path, before)
    assert namespaces() - before == set()
    pid = int((tmp_path / "sleeper-client.log").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def fail_inside(log_dir: Path, before: set[str]) -> None:
    sleeper = ["sh", "-c", "echo $$; exec sleep 600"]
    with Lab() as lab, running(lab.popen, "client", "sleeper", sleeper, log_dir) as process:
        assert len(namespaces() - before) == 3
        process.wait_ready("\n", time.monotonic() + 10)
        lab.run("client", ["ping", "-c", "1", "-W", "5", "10.11.2.2"])
        raise ZeroDivisionError


def test_what_a_killed_benchmark_left_is_removed_by_the_next():
    code = (
        "import os, signal; from experiments.bench.lab import Lab\n"
        "with Lab() as lab:\n"
        "    lab.popen('client', ['sleep', '600'])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    before = namespaces()
    killed = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    left = namespaces() - before
    assert len(left) == 3
    with Lab():
        assert left & namespaces() == set()
    assert namespaces() - before == set()


def test_a_program_that_fails_is_quoted():
    with Lab() as lab, pytest.raises(BenchError, match="no such thing"):
        lab.run("client", ["sh", "-c", "echo no such thing >&2; exit 3"])


@pytest.mark.slow
def test_a_small_run_measures_everything_beside_another_checkout(tmp_path):
    before = namespaces()
    path = tmp_path / "bench.json"
    only = [word for workload in WORKLOADS for word in ("--only", workload)]
    small = ["--bulk-mib", "16", "--held", "200", "--against", str(Path(__file__).parents[2])]
    done = subprocess.run(
        [*BENCH, *small, *only, "--json", str(path)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode in (0, 1), done.stderr  # the floors are for a quiet machine to judge
    samples = json.loads(path.read_text())["samples"]
    assert {
        workload: {each["system"] for each in samples if each["workload"] == workload}
        for workload in WORKLOADS
    } == SYSTEMS_OF
    assert all(sample["value"] > 0 for sample in samples)
    assert all(workload.title in done.stdout for workload in WORKLOADS.values())
    assert "floors reached: " in done.stdout
    assert namespaces() - before == set()


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing():
    before = namespaces()
    bench = subprocess.Popen(BENCH, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert bench.stderr is not None
    with bench, bench.stderr:
        assert bench.stderr.readline().startswith("round 1/1: requests direct")
        started = psutil.Process(bench.pid).children(recursive=True)
        assert {"nginx", "haproxy"} <= {process.name() for process in started}
        assert len(namespaces() - before) == 3
        bench.send_signal(signal.SIGINT)
        assert bench.wait(30) == 128 + signal.SIGINT
    assert namespaces() - before == set()
    assert psutil.wait_procs(started, timeout=0)[1] == []
