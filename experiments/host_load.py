"""How busy the machine was, from the kernel's own accounting."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class CpuShares:
    """Shares of all CPUs' time in an interval, in percent."""

    idle_pct: float
    steal_pct: float


class CpuMeter:
    """Measures from its making to `read`."""

    def __init__(self) -> None:
        """Start the interval now."""
        self._start = psutil.cpu_times()

    def read(self) -> CpuShares:
        """The shares since the start; waiting for disk counts as idle."""
        end = psutil.cpu_times()
        spent = {name: getattr(end, name) - getattr(self._start, name) for name in end._fields}
        total = sum(
            spent[name]
            for name in ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        )
        if total <= 0:
            return CpuShares(100.0, 0.0)
        idle = spent["idle"] + spent["iowait"]
        return CpuShares(100 * idle / total, 100 * spent["steal"] / total)
