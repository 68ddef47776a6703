"""No balancer: each connection of a client goes to a backend at random.

The network's path is the shorter one, from client to backend: what a balancer costs is in the
difference, and so is its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from experiments.lab.ports import BACKEND_PORT
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems.contract import Forwarding, TransportProtocol
from experiments.lab.systems.refusals import refuse_settings
from experiments.plan.scenario import Scenario, ScenarioError


class Direct:
    """Clients know all backends."""

    def __init__(self, scenario: Scenario, addresses: Mapping[str, str]) -> None:
        """`addresses` gives every backend's IP address."""
        self.records: Path | None = None
        self.records_exact = False
        self._targets = [f"{addresses[name]}:{BACKEND_PORT}" for name in scenario.backend_ids()]

    def start(self, group: ProcessGroup, host: str) -> HostProcess | None:
        """Nothing."""
        return None

    def targets(self) -> Sequence[str]:
        """All backends."""
        return self._targets

    def stopped(self, realtime_offset_s: float) -> None:
        """Nothing was written."""


@dataclass(frozen=True)
class DirectKind:
    """See `SystemKind`."""

    name: str = "direct"
    needs: ClassVar[Mapping[str, str]] = {}
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp", "udp"})

    def check(self, scenario: Scenario) -> None:
        """Clients choose at random and know neither weights nor health."""
        if scenario.algorithm != "random":
            raise ScenarioError(
                f"system direct: there is no balancer, so clients choose at random: algorithm "
                f"random, not {scenario.algorithm}"
            )
        if scenario.backends.weights:
            raise ScenarioError("system direct: clients know no weights; leave backends.weights")
        refuse_settings(scenario, "direct", allowed=())

    def facts(self) -> Mapping[str, Any]:
        """Nothing runs."""
        return {"name": "direct", "version": None}

    def make(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> Direct:
        """See `SystemKind`."""
        return Direct(scenario, addresses)

    def command(self, asked: Forwarding, folder: Path) -> list[str] | None:
        """Nothing runs."""
        return None
