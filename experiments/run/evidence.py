"""What a run leaves behind when its processes have ended."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.lab.capture import Capture
from experiments.lab.faults import AppliedFault
from experiments.lab.host_load import HostLoad
from experiments.lab.kernel_counters import CounterReadings
from topologies.emulate.method import DirectionCounters

LinkReadings = tuple[Mapping[str, DirectionCounters], Mapping[str, DirectionCounters]]
"""The links' counters as the load ended, and after the captures had."""


@dataclass(frozen=True)
class Evidence:
    """Where the raw files of a finished run are, and what was counted while it ran."""

    raw: Path
    t0_s: float
    """Start of load, CLOCK_MONOTONIC seconds."""
    clients: Sequence[str]
    balancers: Sequence[str]
    """Their hosts, whether or not something serves there."""
    addresses: Mapping[str, str]
    """IP address of every host."""
    balancer_records: Sequence[Path]
    """None: the system keeps none."""
    records_exact: bool
    """Whether they tell when a connection was made, to a fraction of a millisecond."""
    captures: list[Capture]
    counters: CounterReadings
    load: HostLoad
    cpu_samples: list[dict[str, Any]]
    """Rows of table `samples`, at CLOCK_MONOTONIC seconds."""
    background_samples: list[dict[str, Any]]
    """The same, of background flows."""
    backend_samples: list[Path]
    """One file per start of a backend."""
    dead: Collection[str]
    """Backends that a fault killed and none restored."""
    paused: Collection[str]
    """Backends that a fault stopped for a time: late by no fault of this machine."""
    faults: list[AppliedFault]
    links: LinkReadings
