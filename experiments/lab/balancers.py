"""The system under test in every balancer's host: started, restarted, stopped together."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems import SYSTEMS
from experiments.lab.systems.contract import SystemUnderTest
from experiments.plan.scenario import Scenario


class Balancers:
    """One system per host; where there are several, each has a folder of its own for its files."""

    def __init__(
        self, group: ProcessGroup, scenario: Scenario, addresses: Mapping[str, str], raw: Path
    ) -> None:
        """Nothing is started yet. `addresses`: of all hosts."""
        self._group = group
        kind, hosts = SYSTEMS[scenario.system], scenario.balancers()
        self._systems: dict[str, SystemUnderTest] = {}
        for host in hosts:
            folder = raw if len(hosts) == 1 else raw / host
            folder.mkdir(exist_ok=True)
            self._systems[host] = kind.make(scenario, addresses, host, folder)
        self._running: dict[str, HostProcess] = {}

    def start(self) -> None:
        """Start all and wait until they serve. Raises ProcessFailed."""
        for host in self._systems:
            self._start(host)

    def _start(self, host: str) -> None:
        process = self._systems[host].start(self._group, host)
        if process is not None:
            self._running[host] = process

    def restart(self, host: str) -> None:
        """SIGTERM, and as it ends another one in its place. Raises ProcessFailed."""
        self._running.pop(host).stop()
        self._start(host)

    def targets(self) -> Sequence[str]:
        """Where clients connect: `ip:port`, of one balancer after the other, each once."""
        return list(
            dict.fromkeys(
                target for system in self._systems.values() for target in system.targets()
            )
        )

    def all_running(self) -> bool:
        """Whether all that were started live; ProcessFailed names one that ended with an error."""
        return all(process.running() for process in self._running.values())

    @property
    def pids(self) -> dict[str, int]:
        """By host; none where there is no process."""
        return {host: process.pid for host, process in self._running.items()}

    def stop(self) -> None:
        """End them in order; ProcessFailed if one does not."""
        for process in self._running.values():
            process.stop()

    def stopped(self) -> None:
        """All of the run has ended: bring their records into form."""
        for system in self._systems.values():
            system.stopped(time.time() - time.monotonic())

    @property
    def records(self) -> list[Path]:
        """Their logs of connections; none where they keep none."""
        return [system.records for system in self._systems.values() if system.records is not None]

    @property
    def records_exact(self) -> bool:
        """See `SystemUnderTest`."""
        return all(system.records_exact for system in self._systems.values())
