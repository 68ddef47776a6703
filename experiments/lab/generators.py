"""What sends: command lines of the load generators."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.scenario import Scenario


def start_generators(
    group: ProcessGroup,
    scenario: Scenario,
    clients: list[str],
    targets: Sequence[str],
    t0_s: float,
    raw: Path,
) -> list[HostProcess]:
    """Start one load generator in each client host; all send from `t0_s` (monotonic) on."""
    work = scenario.workload
    rate_rps = scenario.offered_rps() / len(clients)
    return [
        group.start(
            name,
            "generator",
            [
                *(sys.executable, "-m", "experiments.hosts.client.load_generator"),
                *("--client", name, "--index", str(index), "--target", *targets),
                *("--seed", str(scenario.seed), "--rate", repr(rate_rps)),
                *("--duration-s", str(scenario.duration_s), "--start-at", repr(t0_s)),
                *("--protocol", scenario.protocol),
                *("--mode", work.mode, "--connections", str(work.connections)),
                *("--mean-demand-ms", str(work.mean_demand_ms)),
                *("--distribution", work.distribution, "--cv2", str(work.demand_cv2)),
                *("--response-bytes", str(work.response_bytes)),
                *("--timeout-ms", str(work.timeout_ms)),
                *("--requests", str(raw / f"requests-{name}.jsonl")),
                *("--samples", str(raw / f"samples-{name}.jsonl")),
                *("--summary", str(raw / f"summary-{name}.json")),
            ],
        )
        for index, name in enumerate(clients)
    ]
