"""Runs by the workers of a cluster: real worker processes, on loopback."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.plan.sweep import Cell, cells
from experiments.run import cluster as module
from experiments.run.cluster import LOCAL, Cluster, ClusterError
from experiments.run.engine import Job, one_by_one
from experiments.run.sweep import run_sweep
from experiments.simulation.replications import simulate_one
from tests.unit.experiments.run.small_sweep import SMALL, sums


@pytest.fixture
def two_workers() -> Iterator[Cluster]:
    with Cluster(LOCAL, workers=2) as engine:
        yield engine


def refused(number: int, cell: Cell, path: Path) -> bool:
    raise ClusterError(f"number {number} is refused")


def dies_at_first(number: int, cell: Cell, path: Path) -> bool:
    """The worker that makes the second one is killed, once."""
    marker = Path(os.environ["NGINY_TEST_MARKER"])
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return simulate_one(number, cell, path)


@pytest.mark.slow
def test_runs_of_a_cluster_are_the_same_to_the_last_byte(
    tmp_path: Path, two_workers: Cluster
) -> None:
    todo = cells(SMALL, "here")
    for name, engine in (("serial", one_by_one), ("cluster", two_workers)):
        made = run_sweep(todo, tmp_path / name, simulate_one, engine)
        assert [outcome for _, outcome in made] == ["valid"] * len(todo)
    assert len(sums(tmp_path / "serial")) == len(todo)
    assert sums(tmp_path / "serial") == sums(tmp_path / "cluster")
    assert not list((tmp_path / "cluster").glob(".arriving-*"))


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGINY_TEST_MARKER", str(tmp_path / "died"))
    todo = cells(SMALL, "here")
    list(run_sweep(todo, tmp_path / "serial", simulate_one, one_by_one))
    with Cluster(LOCAL, workers=2) as engine:
        made = list(run_sweep(todo, tmp_path / "cluster", dies_at_first, engine))
    assert (tmp_path / "died").exists()
    assert {outcome for _, outcome in made} == {"valid"}
    assert sums(tmp_path / "serial") == sums(tmp_path / "cluster")


@pytest.mark.slow
def test_an_error_at_a_worker_is_passed_on(tmp_path: Path, two_workers: Cluster) -> None:
    jobs = [Job(7, cells(SMALL, "here")[0], tmp_path / "run")]
    with pytest.raises(ClusterError, match="number 7 is refused"):
        list(two_workers(jobs, refused))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_workers: Cluster
) -> None:
    (worker, *_) = two_workers._client.run(os.getpid)
    monkeypatch.setattr(module, "code_digest", lambda: "of something else")
    with pytest.raises(ClusterError, match="other code") as caught, Cluster(_address(two_workers)):
        pass
    assert worker in str(caught.value)
    jobs = [Job(1, cells(SMALL, "here")[0], tmp_path / "run")]
    with pytest.raises(ClusterError, match="other code"):  # one that joined later
        list(two_workers(jobs, simulate_one))


def _address(engine: Cluster) -> str:
    assert engine._own is not None
    return str(engine._own.scheduler_address)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.2)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ClusterError, match=address), Cluster(address):
            pass


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(ClusterError, match="nonsense"), Cluster("nonsense://x"):
        pass


def test_captures_stay_where_they_were_made(tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "raw").mkdir(parents=True)
    (there / "verdict.json").write_text("{}")
    (there / "raw" / "lb.pcap").write_bytes(bytes(1000))
    module._unpack(module._packed(there), tmp_path / "here" / "run")
    found = {path.name for path in (tmp_path / "here").rglob("*")}
    assert found == {"run", "raw", "verdict.json"}
