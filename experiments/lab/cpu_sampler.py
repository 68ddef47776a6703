"""What every process of a run had of the processors, about once a second.

A mean over all cores hides a saturated balancer: it has one thread, and one core of many.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

INTERVAL_S = 1.0
CPU, WAITED = "cpu_s", "cpu_wait_s"
"""Quantities in table `samples`: totals so far. `cpu_wait_s`: it could have run, and something else
had the processor."""


class CpuSampler:
    """Call `sample` often; it reads when it is due."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        """`pids` gives the processes as they are now, by the name of what they are."""
        self._pids = pids
        self._due_s = 0.0
        self.samples: list[dict[str, Any]] = []
        """Rows of table `samples`, at CLOCK_MONOTONIC seconds."""

    def sample(self) -> None:
        """Read every process, if the last time is a second ago."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + INTERVAL_S
        for source, pid in self._pids().items():
            now_s, spent = time.monotonic(), _spent_s(pid)
            if spent is not None:
                self.samples += [
                    {"t_s": now_s, "source": source, "quantity": quantity, "value": value}
                    for quantity, value in zip((CPU, WAITED), spent, strict=True)
                ]


def _spent_s(pid: int) -> tuple[float, float] | None:
    """On a processor and waiting for one, all threads and children together, from
    /proc/PID/task/*/schedstat (Documentation/scheduler/sched-stats.rst); None where the kernel does
    not tell, or it has ended."""
    ran_ns = waited_ns = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            ran, waited, _ = (thread / "schedstat").read_text().split()
            ran_ns += int(ran)
            waited_ns += int(waited)
            for child in (thread / "children").read_text().split():
                own = _spent_s(int(child))
                if own is not None:
                    ran_ns += round(own[0] * 1e9)
                    waited_ns += round(own[1] * 1e9)
    except (OSError, ValueError):
        return None
    return ran_ns / 1e9, waited_ns / 1e9
