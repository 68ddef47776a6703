"""The emulated backends of a run: started, made to suffer on schedule, stopped."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.hosts.backend.control import SERVE, applied
from experiments.hosts.backend.utilisation import REFERENCE_MBPS
from experiments.lab.ports import AGENT_PORT, BACKEND_PORT, HEALTH_PORT, REPORT_PORT
from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.lab.systems.nginy import probe_port, pushes_reports
from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario

_READY_TIMEOUT_S = 15.0
_OBEY_TIMEOUT_S = 2.0
STANDBY_LEAD_S = 4.0
"""A backend that is to be started again is loaded this long before: Python needs a second."""


class AppliedFault(NamedTuple):
    """What was done, and when: seconds on CLOCK_MONOTONIC."""

    fault: Fault
    applied_s: float


class Backends:
    """All emulated backends of a run. Each is one process at a time in its own host."""

    def __init__(
        self,
        group: ProcessGroup,
        scenario: Scenario,
        address_of: Callable[[str], str],
        balancer: str,
        raw: Path,
    ) -> None:
        """Nothing is started yet. `balancer`: its host's name."""
        self._group = group
        self._scenario = scenario
        self._address_of = address_of
        self._balancer = balancer
        self._raw = raw
        self._running: dict[str, HostProcess] = {}
        self._standby: dict[Fault, HostProcess] = {}
        self._starts = dict.fromkeys(scenario.backend_ids(), 0)
        self._due = sorted(scenario.faults, key=lambda fault: fault.at_s)
        self.applied: list[AppliedFault] = []

    def start(self) -> None:
        """Start all and wait until they listen.

        Raises:
            ProcessFailed: one of them is not up: a run without it would not be what was asked.
        """
        for name in self._scenario.backend_ids():
            self._running[name] = self._launch(name)
        for process in self._running.values():
            process.wait_ready("ready", time.monotonic() + _READY_TIMEOUT_S)

    def all_running(self) -> bool:
        """Whether all live that are to live; ProcessFailed names one that ended with an error."""
        return all(process.running() for process in self._running.values())

    @property
    def pids(self) -> dict[str, int]:
        """Of those that live, by name."""
        return {name: process.pid for name, process in self._running.items()}

    def stop(self) -> None:
        """End them in order; ProcessFailed if one does not."""
        for process in self._running.values():
            process.stop()

    def samples(self) -> Iterator[Path]:
        """Their samples files: one per start."""
        for name, starts in self._starts.items():
            yield from (self._samples(name, number) for number in range(starts))

    def killed(self) -> set[str]:
        """Names of those that are dead, by a fault."""
        return set(self._scenario.backend_ids()) - self._running.keys()

    def apply_due(self, t0_s: float) -> float:
        """Apply what is due; seconds until the next thing is, or infinity.

        `t0_s`: start of load, CLOCK_MONOTONIC. Raises ProcessFailed if a backend does not obey.
        """
        elapsed_s = time.monotonic() - t0_s
        self._prepare(elapsed_s)
        while self._due and self._due[0].at_s <= elapsed_s:
            self._apply(self._due.pop(0))
            elapsed_s = time.monotonic() - t0_s
        return self._due[0].at_s - elapsed_s if self._due else float("inf")

    def _prepare(self, elapsed_s: float) -> None:
        """Load what is to be started again soon."""
        killed = self.killed()
        for fault in self._due:
            if fault.at_s - STANDBY_LEAD_S > elapsed_s:
                return
            if fault.action == "kill":
                killed.add(fault.backend)
            if fault.action == "restore" and fault.backend in killed:
                killed.discard(fault.backend)
                if fault not in self._standby:
                    self._standby[fault] = self._launch(fault.backend, standby=True)

    def _apply(self, fault: Fault) -> None:
        if fault.action == "kill":
            applied_s = time.monotonic()
            self._running.pop(fault.backend).kill()
        elif fault in self._standby:
            applied_s = self._replace(fault)
        elif fault.action == "slow":
            applied_s = self._tell(fault.backend, f"speed {fault.factor!r}")
        elif fault.action == "drain":
            applied_s = self._tell(fault.backend, "agent drain")
        else:
            self._tell(fault.backend, "speed 1.0")
            applied_s = self._tell(fault.backend, "agent ready")
        self.applied.append(AppliedFault(fault, applied_s))

    def _replace(self, fault: Fault) -> float:
        process = self._standby.pop(fault)
        deadline_s = time.monotonic() + _OBEY_TIMEOUT_S
        process.wait_ready("standby", deadline_s)
        process.command(SERVE)
        process.wait_ready("ready", deadline_s)
        self._running[fault.backend] = process
        return time.monotonic()

    def _tell(self, name: str, command: str) -> float:
        """Have a command carried out; when it was (the last time it was, if it was before)."""
        process = self._running[name]
        pattern = re.escape(applied(command)) + r"([\d.]+)"
        before = len(re.findall(pattern, process.text()))
        process.command(command)
        deadline_s = time.monotonic() + _OBEY_TIMEOUT_S
        while len(found := re.findall(pattern, process.text())) <= before:
            if time.monotonic() > deadline_s or not process.running():
                raise ProcessFailed(f"{process} did not obey {command!r}")
            time.sleep(0.005)
        return float(found[-1])

    def _samples(self, name: str, number: int) -> Path:
        return self._raw / f"samples-{name}{f'-{number}' if number else ''}.jsonl"

    def _launch(self, name: str, *, standby: bool = False) -> HostProcess:
        number = self._starts[name]
        self._starts[name] += 1
        argv = [*self._argv(name), "--samples", str(self._samples(name, number))]
        log = f"backend{f'-{number}' if number else ''}"
        return self._group.start(
            name, log, [*argv, *(["--standby"] if standby else [])], commanded=True
        )

    def _argv(self, name: str) -> list[str]:
        scenario, index = self._scenario, self._scenario.backend_ids().index(name)
        link = scenario.network.backend_link
        argv = [
            *(sys.executable, "-m", "experiments.hosts.backend.server", "--id", name),
            *("--listen", f"{self._address_of(name)}:{BACKEND_PORT}"),
            *("--protocol", scenario.protocol),
            *("--servers", str(scenario.backends.servers)),
            *("--speed", str(scenario.speed(index))),
            *("--queue-limit", str(scenario.backends.queue_limit)),
            *("--capacity-mbps", str(link.rate_mbps or REFERENCE_MBPS), "--control"),
            *("--health-port", str(HEALTH_PORT), "--agent-port", str(AGENT_PORT)),
        ]
        if pushes_reports(scenario):
            argv += ["--report-to", f"{self._address_of(self._balancer)}:{REPORT_PORT}"]
        if (probed := probe_port(scenario)) is not None:
            argv += ["--probe-port", str(probed)]
        return argv
