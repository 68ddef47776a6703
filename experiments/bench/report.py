"""From rates to ratios and a verdict; pure."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

FLOORS = {"requests/s": 0.7, "connections/s": 0.5, "bulk GB/s": 1.0}
"""Least median ratio of nginy to nginx."""


class Sample(NamedTuple):
    """One measurement."""

    round: int
    workload: str
    system: str
    rate: float


class Spread(NamedTuple):
    """Median and extremes over the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """`5123 (4980-5300)`, with decimals where the numbers are small."""
        digits = 0 if self.median >= 100 else 2
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Of at least one value."""
    known = list(values)
    return Spread(median(known), min(known), max(known))


def rates(samples: Iterable[Sample], workload: str, system: str) -> dict[int, float]:
    """By round."""
    return {
        each.round: each.rate
        for each in samples
        if each.workload == workload and each.system == system
    }


def ratios(samples: list[Sample], workload: str) -> list[float]:
    """nginy to nginx in each round: what disturbs a round disturbs both."""
    ours, peers = (rates(samples, workload, system) for system in ("nginy", "nginx"))
    return [ours[number] / peers[number] for number in sorted(ours.keys() & peers.keys())]


def verdict(samples: list[Sample], floors: Mapping[str, float] = FLOORS) -> dict[str, bool]:
    """Whether the median ratio of each workload reaches its floor."""
    return {name: median(ratios(samples, name)) >= floor for name, floor in floors.items()}


def table(samples: list[Sample], systems: Iterable[str]) -> str:
    """One line per workload: the rates of each system, the ratio, its floor."""
    names = list(systems)
    passed = verdict(samples)
    lines = [("median (min-max)", *names, "nginy / nginx", "floor", "")]
    for workload, floor in FLOORS.items():
        cells = [str(spread(rates(samples, workload, name).values())) for name in names]
        ratio = str(spread(ratios(samples, workload)))
        mark = "PASS" if passed[workload] else "FAIL"
        lines.append((workload, *cells, ratio, f"{floor:.1f}", mark))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
