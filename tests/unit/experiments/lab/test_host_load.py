"""What else used the processor, and how much of it a process got."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from experiments.lab.host_load import HostLoad, HostMeter, Neighbour, _others, busiest

START = """
import subprocess
print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid, flush=True)
"""


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that this one started, but through one that has ended: no child any more."""
    ended = subprocess.run([sys.executable, "-c", START], stdout=subprocess.PIPE, check=True)
    pid = int(ended.stdout)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)


def test_own_programs_are_no_neighbours(stranger: int) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        others = {pid for pid, _, _ in _others()}
    finally:
        child.kill()
        child.wait()
    assert stranger in others
    assert not {os.getpid(), child.pid} & others


def test_the_busiest_is_named_if_it_was_busy() -> None:
    before = {(7, 1.0, "firefox"): 50.0, (8, 1.0, "cron"): 3.0}
    after = {(7, 1.0, "firefox"): 58.0, (8, 1.0, "cron"): 3.5, (9, 2.0, "make"): 1.0}
    assert busiest(before, after, 10.0) == Neighbour("firefox", 7, 80.0)
    assert str(busiest(before, after, 10.0)) == "firefox (pid 7) used 80 % of a core"
    assert busiest(before, before, 10.0) is None
    assert busiest({}, {}, 10.0) is None


def spend(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def measured(pid: int | None) -> HostLoad:
    meter = HostMeter(pid)
    spend(0.05)
    return meter.read()


def test_what_a_process_got_of_the_processor() -> None:
    queue = measured(os.getpid()).balancer
    if queue is None:
        pytest.skip("this kernel keeps no /proc/PID/schedstat")
    assert queue.ran_s >= 0.04
    assert queue.waited_s >= 0


@pytest.mark.parametrize("pid", [None, 2**22 + 1])
def test_a_process_that_is_not_there_is_not_known(pid: int | None) -> None:
    assert measured(pid).balancer is None
