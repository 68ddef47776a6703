"""What a run leaves behind when its processes have ended."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.lab.backends import AppliedFault
from experiments.lab.capture import Capture
from experiments.lab.host_load import HostLoad
from experiments.lab.kernel_counters import CounterReadings
from topologies.emulate.method import DirectionCounters

BALANCER = "lb"

LinkReadings = tuple[Mapping[str, DirectionCounters], Mapping[str, DirectionCounters]]
"""The links' counters as the load ended, and after the captures had."""


@dataclass(frozen=True)
class Evidence:
    """Where the raw files of a finished run are, and what was counted while it ran."""

    raw: Path
    t0_s: float
    """Start of load, CLOCK_MONOTONIC seconds."""
    clients: list[str]
    addresses: Mapping[str, str]
    """IP address of every host."""
    balancer_records: Path | None
    """None: the system keeps none."""
    records_exact: bool
    """Whether they tell when a connection was made, to a fraction of a millisecond."""
    captures: list[Capture]
    counters: CounterReadings
    load: HostLoad
    cpu_samples: list[dict[str, Any]]
    """Rows of table `samples`, at CLOCK_MONOTONIC seconds."""
    backend_samples: list[Path]
    """One file per start of a backend."""
    dead: Collection[str]
    """Backends that a fault killed and none restored."""
    faults: list[AppliedFault]
    links: LinkReadings
