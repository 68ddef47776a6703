"""What sends: command lines of the load generators."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.scenario import Scenario, ScenarioError
from experiments.plan.workload.kinds import Wrk


def start_generators(
    group: ProcessGroup,
    scenario: Scenario,
    plan: Path,
    targets: Sequence[str],
    t0_s: float,
    raw: Path,
    *,
    live: bool = False,
) -> list[HostProcess]:
    """Start one load generator in each client host; all send what the file `plan` says from `t0_s`
    (monotonic) on. With `workload.kind: wrk` that is wrk, which plans nothing.

    `live`: they also write what has ended, while they send.
    """
    if isinstance(scenario.workload, Wrk):
        window_s = t0_s, scenario.duration_s
        return [
            group.start(name, "generator", _wrk(scenario.workload, name, targets[0], window_s, raw))
            for name in scenario.clients()
        ]
    return [
        group.start(
            name,
            "generator",
            [
                *(sys.executable, "-m", "experiments.hosts.client.load_generator"),
                *("--client", name, "--index", str(index), "--plan", str(plan)),
                *("--target", *_targets_of(scenario, index, targets)),
                *("--seed", str(scenario.seed), "--duration-s", str(scenario.duration_s)),
                *("--start-at", repr(t0_s), "--protocol", scenario.protocol),
                *("--wire", "own" if scenario.backends.server == "emulated" else "http"),
                *("--timeout-ms", str(scenario.workload.timeout_ms)),
                *_files(name, raw),
                *(("--live", str(raw / f"live-{name}.jsonl")) if live else ()),
            ],
        )
        for index, name in enumerate(scenario.clients())
    ]


def _files(name: str, raw: Path) -> list[str]:
    return [
        *("--requests", str(raw / f"requests-{name}.jsonl")),
        *("--samples", str(raw / f"samples-{name}.jsonl")),
        *("--summary", str(raw / f"summary-{name}.json")),
    ]


def _wrk(
    workload: Wrk, name: str, target: str, window_s: tuple[float, float], raw: Path
) -> list[str]:
    return [
        *(sys.executable, "-m", "experiments.hosts.client.wrk", "--client", name),
        *("--target", target, "--start-at", repr(window_s[0])),
        *("--duration-s", str(round(window_s[1]))),
        *("--timeout-s", str(round(workload.timeout_ms / 1000))),
        *("--threads", str(workload.threads), "--connections", str(workload.connections)),
        *("--response-bytes", str(workload.response_bytes)),
        *_files(name, raw),
    ]


def check_generators(scenario: Scenario) -> None:
    """Raise ScenarioError if the program that is to send is not installed."""
    if scenario.workload.kind == "wrk" and shutil.which("wrk") is None:
        raise ScenarioError(
            "workload.kind wrk: it is not installed; `experiments/setup.sh --bench` installs it"
        )


def _targets_of(scenario: Scenario, index: int, targets: Sequence[str]) -> Sequence[str]:
    """Of one client: all, or where each client has a balancer of its own, that one."""
    if getattr(scenario.network, "spread", "flow") == "client":
        return [targets[index % len(targets)]]
    return targets
