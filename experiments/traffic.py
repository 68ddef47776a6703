"""What sends and what serves: command lines of the emulated backends and the load generators."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments.processes import HostProcess, ProcessGroup
from experiments.scenario import Scenario

_READY_TIMEOUT_S = 15.0


def start_backends(
    group: ProcessGroup, scenario: Scenario, address_of: Callable[[str], str], port: int, raw: Path
) -> list[HostProcess]:
    """Start one emulated backend in each backend host and wait until all of them listen.

    Raises:
        ProcessFailed: one of them is not up: a run without it would not be what was asked.
    """
    backends = [
        group.start(
            name,
            "backend",
            [
                *(sys.executable, "-m", "experiments.hosts.backend_server"),
                *("--id", name, "--listen", f"{address_of(name)}:{port}"),
                *("--servers", str(scenario.backends.servers)),
                *("--speed", str(scenario.speed(index))),
                *("--queue-limit", str(scenario.backends.queue_limit)),
                *("--samples", str(raw / f"samples-{name}.jsonl")),
            ],
        )
        for index, name in enumerate(scenario.backend_ids())
    ]
    for backend in backends:
        backend.wait_ready("ready", time.monotonic() + _READY_TIMEOUT_S)
    return backends


def start_generators(
    group: ProcessGroup, scenario: Scenario, clients: list[str], target: str, t0_s: float, raw: Path
) -> list[HostProcess]:
    """Start one load generator in each client host; all send from `t0_s` (monotonic) on."""
    work = scenario.workload
    rate_rps = scenario.offered_rps() / len(clients)
    return [
        group.start(
            name,
            "generator",
            [
                *(sys.executable, "-m", "experiments.hosts.load_generator"),
                *("--client", name, "--index", str(index), "--target", target),
                *("--seed", str(scenario.seed), "--rate", repr(rate_rps)),
                *("--duration-s", str(scenario.duration_s), "--start-at", repr(t0_s)),
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
