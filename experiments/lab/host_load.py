"""How busy the machine was and with what, from the kernel's own accounting."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

_WORTH_NAMING_PCT = 20.0
_KTHREADD = 2


class RunQueue(NamedTuple):
    """A process (its main thread) and the processor, over an interval."""

    ran_s: float
    waited_s: float
    """It could have run, but something else had the processor."""
    runs: int


class Neighbour(NamedTuple):
    """A program that is no part of the run. `core_pct`: 100 is one core, all the time."""

    name: str
    pid: int
    core_pct: float

    def __str__(self) -> str:
        """`firefox (pid 7) used 85 % of a core`."""
        return f"{self.name} (pid {self.pid}) used {self.core_pct:.0f} % of a core"


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Shares of all CPUs' time in an interval, in percent; what the balancer got of it (None where
    the kernel does not tell); the busiest program beside the run, if one was busy."""

    idle_pct: float
    steal_pct: float
    seconds: float
    balancer: RunQueue | None = None
    busiest: Neighbour | None = None


class HostMeter:
    """Measures from its making to `read`."""

    def __init__(self, balancer_pid: int | None = None) -> None:
        """Start the interval now."""
        self._pid = balancer_pid
        self._others = _others()
        self._queue = _run_queue(balancer_pid)
        self._start = psutil.cpu_times()
        self._start_s = time.monotonic()

    def read(self) -> HostLoad:
        """The load since the start; waiting for disk counts as idle."""
        seconds = time.monotonic() - self._start_s
        end = psutil.cpu_times()
        spent = {name: getattr(end, name) - getattr(self._start, name) for name in end._fields}
        total = sum(
            spent[name]
            for name in ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        )
        idle = spent["idle"] + spent["iowait"]
        return HostLoad(
            idle_pct=100 * idle / total if total > 0 else 100.0,
            steal_pct=100 * spent["steal"] / total if total > 0 else 0.0,
            seconds=seconds,
            balancer=self._waited(),
            busiest=busiest(self._others, _others(), seconds),
        )

    def _waited(self) -> RunQueue | None:
        now, before = _run_queue(self._pid), self._queue
        if now is None or before is None:
            return None
        ran_s, waited_s = now.ran_s - before.ran_s, now.waited_s - before.waited_s
        return RunQueue(ran_s, waited_s, now.runs - before.runs)


_CpuSeconds = dict[tuple[int, float, str], float]
"""By (pid, start, name)."""


def busiest(before: _CpuSeconds, after: _CpuSeconds, seconds: float) -> Neighbour | None:
    """Which used most of `seconds`; None if none used a fifth of a core."""
    used = {key: after_s - before.get(key, 0.0) for key, after_s in after.items()}
    if not used:
        return None
    (pid, _, name), most_s = max(used.items(), key=lambda item: item[1])
    core_pct = 100 * most_s / seconds
    return Neighbour(name, pid, core_pct) if core_pct >= _WORTH_NAMING_PCT else None


def _others() -> _CpuSeconds:
    """CPU seconds so far of every process that this one did not start.

    Kernel threads are left out: most of what they do under load is the virtual network.
    """
    this = psutil.Process()
    own = {this.pid, _KTHREADD, *(child.pid for child in this.children(recursive=True))}
    found = {}
    for process in psutil.process_iter(["pid", "ppid", "create_time", "name", "cpu_times"]):
        facts = process.info
        if facts["pid"] not in own and facts["ppid"] != _KTHREADD and facts["cpu_times"]:
            used = facts["cpu_times"]
            key = (facts["pid"], facts["create_time"], facts["name"])
            found[key] = used.user + used.system
    return found


def _run_queue(pid: int | None) -> RunQueue | None:
    """Totals of /proc/PID/schedstat (Documentation/scheduler/sched-stats.rst); None where the
    kernel does not keep them, or the process is gone."""
    try:
        ran_ns, waited_ns, runs = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    except (OSError, ValueError):
        return None
    return RunQueue(ran_ns / 1e9, waited_ns / 1e9, runs)
