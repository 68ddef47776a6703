"""What is measured: one contract for balancers, and for none at all.

A run of an experiment makes a system for its scenario (`make`); benchmark and stress, which ask for
nothing but forwarding, take a command line (`command`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.scenario import Scenario

TransportProtocol = Literal["tcp", "udp"]


class Listener(NamedTuple):
    """A port to accept at."""

    port: int
    protocol: TransportProtocol = "tcp"
    one_answer: bool = False
    """UDP: every datagram begins a session, which ends with its answer."""


class Forwarding(NamedTuple):
    """All that a benchmark asks for: one worker, one backend, no log, no health checks."""

    host: str
    """The address that all listeners listen at."""
    listeners: tuple[Listener, ...]
    backend: str
    """`ADDRESS:PORT`, behind all listeners."""


class SystemUnderTest(Protocol):
    """One run's. Made with the scenario and the addresses of all hosts; nothing runs yet."""

    records: Path | None
    """Its own log of connections, in the form of nginy's access log once it has stopped; None: it
    keeps none."""

    records_exact: bool
    """Whether they tell when a connection to a backend was made, to a fraction of a millisecond."""

    def start(self, group: ProcessGroup, host: str) -> HostProcess | None:
        """Start it in the balancer's host and wait until it serves; None: there is nothing to
        start. Raises ProcessFailed."""

    def targets(self) -> Sequence[str]:
        """`ip:port` where clients connect; of several, each connection goes to one at random, drawn
        from the seed."""

    def stopped(self, realtime_offset_s: float) -> None:
        """It has ended: bring its records into form. `realtime_offset_s` is CLOCK_REALTIME less
        CLOCK_MONOTONIC."""


class SystemKind(Protocol):
    """A class of systems."""

    @property
    def name(self) -> str:
        """In scenarios and reports."""

    @property
    def needs(self) -> Mapping[str, str]:
        """Debian package by the command or file that it brings."""

    @property
    def protocols(self) -> frozenset[TransportProtocol]:
        """What it can carry."""

    def check(self, scenario: Scenario) -> None:
        """Raise ScenarioError, saying what it can do, if it cannot do what the scenario asks."""

    def facts(self) -> Mapping[str, Any]:
        """Name and version, for the manifest."""

    def make(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> SystemUnderTest:
        """For one run; `balancer` is its host, its files go to `folder`."""

    def command(self, asked: Forwarding, folder: Path) -> list[str] | None:
        """A command line that does this in the foreground until SIGTERM, once its configuration
        is written into `folder`; None: nothing runs, clients reach the backend itself."""
