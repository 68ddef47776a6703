"""Balancers as they run: started in a place, ended with the block, their CPU time and memory; and
the benchmark's own process."""

import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from experiments.lab.processes import HostProcess, Popen, ProcessFailed, ProcessGroup


@contextmanager
def running(
    popen: Popen, host: str, name: str, argv: Sequence[str], logs: Path
) -> Iterator[HostProcess]:
    """A program that is asked to end with the block, so that an nginx ends its workers."""
    with ProcessGroup(popen, logs) as group:
        process = group.start(host, name, argv)
        try:
            yield process
        finally:
            with suppress(ProcessFailed):  # its exit code is not what is measured
                process.stop()


def cpu_s(process: HostProcess) -> float:
    """Processor time so far, of it and its workers."""
    times = [each.cpu_times() for each in _processes(process)]
    return sum(time.user + time.system for time in times)


def memory_bytes(process: HostProcess) -> int:
    """Resident, of it and its workers; pages they share count once (PSS). What the kernel holds for
    sockets is not in it."""
    return sum(int(each.memory_full_info().pss) for each in _processes(process))


def _processes(process: HostProcess) -> list[psutil.Process]:
    first = psutil.Process(process.pid)
    return [first, *first.children(recursive=True)]


def prepare_process() -> None:
    """As many open files as allowed, for itself and what it starts; ends by unwinding."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):  # sudo and make pass it on again: clean up first
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)
