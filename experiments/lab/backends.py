"""The emulated backends of a run: started, made to suffer, stopped."""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.hosts.backend.control import SERVE, applied
from experiments.hosts.backend.utilisation import REFERENCE_MBPS
from experiments.lab.ports import AGENT_PORT, BACKEND_PORT, HEALTH_PORT, REPORT_PORT
from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.lab.systems.nginy import probe_port, pushes_reports
from experiments.plan.faults import RESTORE, Fault
from experiments.plan.scenario import Scenario

READY_TIMEOUT_S = 15.0
_OBEY_TIMEOUT_S = 2.0
STANDBY_LEAD_S = 4.0
"""A backend that is to be started again is loaded this long before: Python needs a second."""
COMMANDS = {
    "slow": ("speed", None),
    "drain": ("agent", "drain"),
    "hang": ("hang", "on"),
    "reset_after": ("reset_after", None),
    "lie": ("lie", None),
    "report_delay": ("report_delay", None),
}
"""What a backend is told (experiments/hosts/backend/control.py); None: the fault's value."""
WELL = {
    "speed": "1.0",
    "agent": "ready",
    "hang": "off",
    "reset_after": "0",
    "lie": "1.0",
    "report_delay": "0",
}
"""Undoes all of it."""


class Backends:
    """All emulated backends of a run. Each is one process at a time in its own host."""

    def __init__(
        self,
        group: ProcessGroup,
        scenario: Scenario,
        address_of: Callable[[str], str],
        raw: Path,
    ) -> None:
        """Nothing is started yet."""
        self._group = group
        self._scenario = scenario
        self._address_of = address_of
        self._raw = raw
        self._running: dict[str, HostProcess] = {}
        self._standby: dict[Fault | str, HostProcess] = {}
        """By what they wait for: a fault of the schedule, or the backend's restoring by hand."""
        self._starts = dict.fromkeys(scenario.backend_ids(), 0)
        self.paused: set[str] = set()
        """Names of those that were, at some time: late by no fault of the machine."""

    def start(self) -> None:
        """Start all and wait until they listen.

        Raises:
            ProcessFailed: one of them is not up: a run without it would not be what was asked.
        """
        for name in self._scenario.backend_ids():
            self._running[name] = self._launch(name)
        for process in self._running.values():
            self._await(process)

    def _await(self, process: HostProcess) -> None:
        process.wait_ready("ready", time.monotonic() + READY_TIMEOUT_S)

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
            files = (self._samples(name, number) for number in range(starts))
            # One that stood by and was never needed has served nothing.
            yield from (path for number, path in enumerate(files) if not number or path.exists())

    def killed(self) -> set[str]:
        """Names of those that are dead, by a fault."""
        return set(self._scenario.backend_ids()) - self._running.keys()

    def prepare(self, due: Sequence[Fault], elapsed_s: float) -> None:
        """Load what is to be started again soon, of what is `due`, in order of time."""
        killed = self.killed()
        for fault in due:
            if fault.at_s - STANDBY_LEAD_S > elapsed_s:
                return
            if fault.action == "kill":
                killed.add(fault.subject)
            if fault.action == RESTORE and fault.subject in killed:
                killed.discard(fault.subject)
                if fault not in self._standby:
                    self._standby[fault] = self._launch(fault.subject, standby=True)

    def stand_by(self, name: str) -> None:
        """Load one that can take the place of a killed one at any time."""
        self._standby[name] = self._launch(name, standby=True)

    def apply(self, fault: Fault) -> float:
        """Have a fault of a backend, or its undoing, carried out; when it was, CLOCK_MONOTONIC.
        Raises ProcessFailed if it does not obey."""
        name, applied_s = fault.subject, time.monotonic()
        if fault.action == "kill":
            self._running.pop(name).kill()
        elif fault in self._standby:
            return self._replace(name, self._standby.pop(fault))
        elif fault.action == RESTORE and name not in self._running:
            # Whom the schedule killed for good has nobody standing by.
            standby = self._standby.pop(name, None) or self._launch(name, standby=True)
            return self._replace(name, standby)
        elif fault.action == "pause":
            self.paused.add(name)
            self._running[name].pause()
        elif fault.action == RESTORE:
            self._running[name].resume()
            for word, value in WELL.items():
                applied_s = self._tell(name, f"{word} {value}")
        else:
            word, fixed = COMMANDS[fault.action]
            applied_s = self._tell(name, f"{word} {fixed or repr(fault.value)}")
        return applied_s

    def _replace(self, name: str, process: HostProcess) -> float:
        # By hand it may be wanted as soon as it is started.
        process.wait_ready("standby", time.monotonic() + READY_TIMEOUT_S)
        process.command(SERVE)
        process.wait_ready("ready", time.monotonic() + _OBEY_TIMEOUT_S)
        self._running[name] = process
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
        link = scenario.topology.link_of(name).leaving
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
            balancers = map(self._address_of, scenario.balancers())
            argv += ["--report-to", *(f"{address}:{REPORT_PORT}" for address in balancers)]
        if (probed := probe_port(scenario)) is not None:
            argv += ["--probe-port", str(probed)]
        return argv
