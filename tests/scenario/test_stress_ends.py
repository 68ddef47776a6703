"""The clients and the backend of `make stress`, without a balancer between them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from experiments.lab.processes import ProcessGroup
from experiments.stress.backend import READY
from experiments.stress.rig import result
from tests.scenario.proxy.conftest import free_port

DEADLINE_S = 20.0


class Ends:
    """Processes of `ends`, one of them a backend at `port`."""

    def __init__(self, group: ProcessGroup) -> None:
        self.port = free_port()
        self._group = group
        self.backend = self.start("serve")

    def start(self, action: str, *arguments: object):
        module = [sys.executable, "-m", "experiments.stress.ends"]
        words = [*module, action, str(self.port), *map(str, arguments)]
        process = self._group.start("here", action, words)
        process.wait_ready(READY, time.monotonic() + DEADLINE_S)
        return process


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    def popen(_: str, argv: list[str], **options) -> subprocess.Popen:
        return subprocess.Popen(argv, **options)

    with ProcessGroup(popen, tmp_path) as group:
        yield Ends(group)


def test_short_exchanges_are_counted(ends: Ends) -> None:
    assert result(ends.start("knock", 100, 0.5)) == {"answered": 50, "sent": 50}


def test_nobody_answers_and_that_is_counted(ends: Ends) -> None:
    ends.backend.kill()
    assert result(ends.start("knock", 100, 0.5)) == {"answered": 0, "sent": 50}


@pytest.mark.parametrize("first", ["e", "d"])
def test_those_that_hold_are_ready_when_all_are_answered(ends: Ends, first: str) -> None:
    assert ends.start("hold", 50, first).running()


def test_a_ping_has_its_figures_beside_downloads(ends: Ends) -> None:
    ends.start("hold", 4, "d")
    found = result(ends.start("ping", 0.3))
    assert 0 < found["p99"] <= found["longest"]


def test_udp_clients_are_counted(ends: Ends) -> None:
    counted = result(ends.start("steady", 4, 100, 0.5))
    assert counted["sent"] == 50
    assert counted["answered"] >= 45


def test_nothing_is_left_of_a_backend_that_is_killed(ends: Ends) -> None:
    children = psutil.Process(ends.backend.pid).children()
    assert len(children) == 1
    ends.backend.kill()
    assert psutil.wait_procs(children, DEADLINE_S)[1] == []
