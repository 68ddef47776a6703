"""nginy as the system under test."""

import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from experiments.processes import HostProcess, ProcessGroup
from experiments.scenario import Scenario

PORT = 8080
"""Where the balancer listens, in the balancer's host."""
BACKEND_PORT = 9000
_READY_TIMEOUT_S = 15.0
DRAIN_S = 1.0
"""When the load is over every request has ended; connections that are still open then belong to
clients that gave up and whose farewell was lost, and would be waited for in vain."""


class NginySystem:
    """One nginy process in the balancer's host."""

    def __init__(self, scenario: Scenario, addresses: dict[str, str], folder: Path) -> None:
        """Write `nginy.yaml` into `folder`; `addresses` gives every backend's IP address."""
        self.records = folder / "connections.jsonl"
        self._config = folder / "nginy.yaml"
        self._seed = scenario.seed
        with self._config.open("w") as stream:
            YAML(typ="safe").dump(_config(scenario, addresses, self.records), stream)

    def start(self, group: ProcessGroup, host: str) -> HostProcess:
        """Start it in `host` and wait until it listens; ProcessFailed if it does not."""
        argv = [sys.executable, "-m", "nginy", "run", "-c", str(self._config)]
        process = group.start(host, "nginy", [*argv, "--seed", str(self._seed)])
        process.wait_ready("nginy ready", time.monotonic() + _READY_TIMEOUT_S)
        return process


def _config(scenario: Scenario, addresses: dict[str, str], records: Path) -> dict[str, object]:
    """The configuration file's content: one rule, all clients to all backends."""
    ids = scenario.backend_ids()
    return {
        "access_log": str(records),
        "timeouts": {"drain_timeout_ms": round(DRAIN_S * 1000)},
        "backends": [
            {
                "id": name,
                "address": f"{addresses[name]}:{BACKEND_PORT}",
                "weight": scenario.weight(index),
            }
            for index, name in enumerate(ids)
        ],
        "clusters": {"all": list(ids)},
        "rules": [
            {
                "clients": [f"0.0.0.0/0:{PORT}"],
                "targets": ["all"],
                "strategy": {"type": scenario.algorithm},
            }
        ],
    }
