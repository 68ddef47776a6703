"""Balancers as they run: started in a place, ended with the block, their CPU time and memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from experiments.processes import HostProcess, Popen, ProcessFailed, ProcessGroup


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
