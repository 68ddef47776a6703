import os
import subprocess

import pytest

from topologies.errors import NetworkError
from topologies.machine import record
from topologies.machine.namespaces import start_ticks
from topologies.machine.record import Process, Record


@pytest.fixture(autouse=True)
def private_state(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "STATE_DIR", tmp_path)
    return tmp_path


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def _dead_owner():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return Process(process.pid, 1, "owner")


def test_a_process_is_known_by_pid_and_start_time(sleeper):
    ticks = start_ticks(sleeper.pid)
    assert Process(sleeper.pid, ticks, "sleep").alive
    assert not Process(sleeper.pid, ticks + 1, "another").alive
    sleeper.kill()
    sleeper.wait()
    assert start_ticks(sleeper.pid) is None


def test_a_zombie_counts_as_gone():
    process = subprocess.Popen(["true"])
    # WNOWAIT: see that it has ended, and leave it a zombie.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(process.pid) is None
    process.wait()


def test_the_record_of_a_living_run_is_no_leftover(sleeper):
    mine = Record.open()
    mine.add_process(sleeper.pid, "sleep")
    assert record.leftovers() == []
    assert record.remove_leftovers() == []
    assert sleeper.poll() is None
    mine.close()
    assert not mine.path.exists()


def test_what_a_dead_run_listed_is_removed_and_nothing_else(sleeper):
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            dead = Record("deadbeef", _dead_owner())
            dead.add_process(sleeper.pid, "sleep")
            # The pid of a process long gone, which somebody else has now.
            dead.processes.append(Process(bystander.pid, 1, "gone"))
            dead._write()
            assert record.leftovers() == [dead]
            assert record.remove_leftovers() == [dead]
            assert sleeper.wait(5) != 0
            assert bystander.poll() is None
        finally:
            bystander.kill()
    assert record.leftovers() == []


def test_a_process_that_has_ended_already_needs_no_record():
    mine = Record.open()
    mine.add_process(_dead_owner().pid, "true")
    assert mine.processes == []


def test_the_machines_own_namespace_is_never_recorded():
    mine = Record.open()
    with pytest.raises(NetworkError, match="no network namespace of its own"):
        mine.add_namespace("c1", os.getpid())
