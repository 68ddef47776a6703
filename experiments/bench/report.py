"""From samples to ratios, floors and a text; pure."""

from collections.abc import Collection, Iterable, Iterator
from statistics import median
from typing import NamedTuple


class Workload(NamedTuple):
    """What is measured."""

    title: str
    floor: float | None = None
    """Least median ratio of nginy to nginx."""


WORKLOADS = {
    "requests": Workload("TCP requests/s on kept-alive connections", 0.7),
    "connections": Workload("TCP new connections/s", 0.5),
    "bulk": Workload("TCP bulk, GB/s", 1.0),
    "tcp-memory": Workload("bytes per idle TCP connection, without the kernel's (less is better)"),
    "udp-round-trips": Workload("UDP round trips/s", 0.5),
    "udp-sessions": Workload("UDP new sessions/s", 0.4),
    "udp-memory": Workload("bytes per idle UDP session, without the kernel's (less is better)"),
}
HEAD = ("median (min-max)", "nginy / it", "floor", "CPU us each", "nginy / it")


class Sample(NamedTuple):
    """One measurement of one system: what the workload's title says."""

    round: int
    workload: str
    system: str
    value: float
    cpu_us: float | None = None
    """Processor time of the balancer for each (request, connection, GB, ...)."""


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


def ratios(samples: Collection[Sample], workload: str, peer: str) -> list[float]:
    """nginy to the peer in each round: what disturbs a round disturbs both. None of a peer that
    needs no memory."""
    return _ratios(*(_by_round(samples, workload, system) for system in ("nginy", peer)))


def cpu_ratios(samples: Collection[Sample], workload: str, peer: str) -> list[float]:
    """Of the processor time for each; it varies less than a rate, and waiting is not in it."""
    return _ratios(*(_cpu_us_by_round(samples, workload, system) for system in ("nginy", peer)))


def _ratios(ours: dict[int, float], its: dict[int, float]) -> list[float]:
    return [ours[number] / its[number] for number in sorted(ours.keys() & its) if its[number] > 0]


def judged(samples: Collection[Sample]) -> dict[str, bool]:
    """Whether each workload reached its floor, of those that have one and were measured."""
    found = {}
    for name, workload in WORKLOADS.items():
        its = ratios(samples, name, "nginx")
        if its and workload.floor is not None:
            found[name] = median(its) >= workload.floor
    return found


def summary(samples: Collection[Sample]) -> str:
    """Every floor missed, or that none was."""
    verdicts = judged(samples)
    missed = [
        f"MISSED: {WORKLOADS[name].title}: {median(ratios(samples, name, 'nginx')):.2f} of nginx's,"
        f" floor {WORKLOADS[name].floor}"
        for name, reached in verdicts.items()
        if not reached
    ]
    return "\n".join([f"floors reached: {sum(verdicts.values())} of {len(verdicts)}", *missed])


def tables(samples: Collection[Sample]) -> str:
    """One for each workload measured, a line for each system."""
    measured = {sample.workload for sample in samples}
    return "\n\n".join(_table(samples, name) for name in WORKLOADS if name in measured)


def _table(samples: Collection[Sample], workload: str) -> str:
    systems = dict.fromkeys(each.system for each in sorted(samples) if each.workload == workload)
    lines = [("", *HEAD), *(tuple(_line(samples, workload, system)) for system in systems)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join([WORKLOADS[workload].title, *rows])


def _line(samples: Collection[Sample], workload: str, system: str) -> Iterator[str]:
    yield f"  {system}"
    yield _cell(_by_round(samples, workload, system).values())
    yield _cell(ratios(samples, workload, system) if system != "nginy" else [])
    reached = judged(samples).get(workload) if system == "nginx" else None
    mark = {True: "reached", False: "MISSED", None: ""}[reached]
    yield f"{WORKLOADS[workload].floor} {mark}" if mark else ""
    yield _cell(_cpu_us_by_round(samples, workload, system).values())
    yield _cell(cpu_ratios(samples, workload, system) if system != "nginy" else [])


def _cell(values: Collection[float]) -> str:
    return str(spread(values)) if values else ""


def _by_round(samples: Iterable[Sample], workload: str, system: str) -> dict[int, float]:
    return {
        each.round: each.value
        for each in samples
        if (each.workload, each.system) == (workload, system)
    }


def _cpu_us_by_round(samples: Iterable[Sample], workload: str, system: str) -> dict[int, float]:
    return {
        each.round: each.cpu_us
        for each in samples
        if (each.workload, each.system) == (workload, system) and each.cpu_us is not None
    }
