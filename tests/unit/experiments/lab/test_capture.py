import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments.lab import capture as capture_module
from experiments.lab.capture import (
    CaptureError,
    CaptureStatistics,
    PopenInHost,
    capture,
    parse_statistics,
)

STAND_IN = """
import os, signal, sys
def say(text): os.write(2, (text + "\\n").encode())  # also from a handler, amid another
counts = iter([(5, 12), (8, 12), (14, 15)])
def on_usr1(*_):
    captured, received = next(counts)
    say(f"tcpdump: {captured} packets captured, {received} packets received by filter, "
        "1 packet dropped by kernel")
def on_int(*_):
    sys.exit(0)
signal.signal(signal.SIGUSR1, on_usr1)
signal.signal(signal.SIGINT, on_int)
say("tcpdump: listening on e0, link-type EN10MB (Ethernet), snapshot length 128 bytes")
while True: signal.pause()
"""


def python_instead(source: str, seen: list[Sequence[str]]) -> PopenInHost:
    def popen(
        host: str, argv: Sequence[str], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        seen.append([host, *argv])
        return subprocess.Popen([sys.executable, "-c", source], stdout=stdout, stderr=stderr)

    return popen


def test_the_counts_are_those_of_the_end_once_the_ring_is_drained() -> None:
    seen: list[Sequence[str]] = []
    with capture(python_instead(STAND_IN, seen), "lb", "lb-eth0", Path("lb.pcap")) as running:
        assert running.statistics is None
    assert running.statistics == CaptureStatistics(captured=11, received=12, dropped=1)
    assert running.statistics.missing == 1
    assert abs(running.clock_step_s) < 1.0
    assert seen[0][:2] == ["lb", "tcpdump"]
    assert {"-i", "lb-eth0", "-s", "128", "lb.pcap", "tcp"} <= set(seen[0])


def test_a_ring_that_cannot_be_drained_in_time_leaves_packets_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capture_module, "DRAIN_TIMEOUT_S", 0.0)
    with capture(python_instead(STAND_IN, []), "lb", "lb-eth0", Path("lb.pcap")) as running:
        pass
    assert running.statistics == CaptureStatistics(captured=5, received=12, dropped=1)
    assert running.statistics.missing == 7


def test_a_tcpdump_that_dies_is_an_error_with_its_message() -> None:
    dies = "import sys; sys.exit('tcpdump: nope: No such device exists')"
    with (
        pytest.raises(CaptureError, match="No such device"),
        capture(python_instead(dies, []), "h", "nope", Path("x.pcap")),
    ):
        pytest.fail("the block must not run")


def test_a_silent_tcpdump_is_an_error_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "START_TIMEOUT_S", 0.2)
    silent = python_instead("import signal; signal.pause()", [])
    with (
        pytest.raises(CaptureError, match="did not answer"),
        capture(silent, "h", "e0", Path("x.pcap")),
    ):
        pytest.fail("the block must not run")


def test_tcpdump_is_ended_when_the_block_fails() -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def popen(
        host: str, argv: Sequence[str], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        processes.append(
            subprocess.Popen([sys.executable, "-c", STAND_IN], stdout=stdout, stderr=stderr)
        )
        return processes[0]

    with pytest.raises(ValueError, match="boom"), capture(popen, "h", "e0", Path("x.pcap")):
        raise ValueError("boom")
    assert processes[0].returncode is not None


def test_the_last_statistics_count() -> None:
    once = "1 packet captured\n2 packets received by filter\n0 packets dropped by kernel\n"
    twice = once + "3 packets captured\n4 packets received by filter\n1 packet dropped by kernel"
    assert parse_statistics(once) == CaptureStatistics(1, 2, 0)
    assert parse_statistics(twice) == CaptureStatistics(3, 4, 1)


def test_no_statistics_is_an_error() -> None:
    with pytest.raises(CaptureError, match="permission"):
        parse_statistics("tcpdump: permission denied")
