"""What sends: command lines of the load generators."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.scenario import Scenario


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
    (monotonic) on.

    `live`: they also write what has ended, while they send.
    """
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
                *("--timeout-ms", str(scenario.workload.timeout_ms)),
                *("--requests", str(raw / f"requests-{name}.jsonl")),
                *("--samples", str(raw / f"samples-{name}.jsonl")),
                *("--summary", str(raw / f"summary-{name}.json")),
                *(("--live", str(raw / f"live-{name}.jsonl")) if live else ()),
            ],
        )
        for index, name in enumerate(scenario.clients())
    ]


def _targets_of(scenario: Scenario, index: int, targets: Sequence[str]) -> Sequence[str]:
    """Of one client: all, or where each client has a balancer of its own, that one."""
    if getattr(scenario.network, "spread", "flow") == "client":
        return [targets[index % len(targets)]]
    return targets
