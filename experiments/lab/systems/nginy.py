"""nginy as the system under test."""

import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel
from ruamel.yaml import YAML

from experiments.hosts.backend.udp_front import HEALTH_ANSWER, HEALTH_QUESTION
from experiments.lab.metadata import ROOT
from experiments.lab.ports import (
    AGENT_PORT,
    BACKEND_PORT,
    HEALTH_PORT,
    PORT,
    PROBE_PORT,
    REPORT_PORT,
)
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems.contract import Forwarding, TransportProtocol
from experiments.plan.scenario import Scenario, ScenarioError
from nginy.config.load import parse
from nginy.errors import ConfigError

_READY_TIMEOUT_S = 15.0
DRAIN_S = 1.0
"""When the load is over every request has ended; connections that are still open then belong to
clients that gave up and whose farewell was lost, and would be waited for in vain."""

HEALTH_CHECK = {"interval_s": 0.5, "timeout_s": 0.5, "fall": 2, "rise": 2, "port": HEALTH_PORT}
"""Of scenarios with faults. Checks have a port of their own, which dies with the backend, so that
what captures see on the service's port is the workload."""
AGENT_CHECK = {"interval_s": 0.5, "timeout_s": 0.5, "port": AGENT_PORT}


class NginySystem:
    """One nginy process in the balancer's host."""

    def __init__(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> None:
        """Write `nginy.yaml` into `folder`; `addresses` gives every host's IP address."""
        self.records: Path | None = folder / "connections.jsonl"
        self.records_exact = True
        self._at = f"{addresses[balancer]}:{PORT}"
        self._config = folder / "nginy.yaml"
        self._seed = scenario.seed + scenario.balancers().index(balancer)
        with self._config.open("w") as stream:
            records = folder / "connections.jsonl"
            YAML(typ="safe").dump(balancer_config(scenario, addresses, records), stream)

    def start(self, group: ProcessGroup, host: str) -> HostProcess:
        """Start it in `host` and wait until it listens; ProcessFailed if it does not."""
        argv = [sys.executable, "-m", "nginy", "run", "-c", str(self._config)]
        process = group.start(host, "nginy", [*argv, "--seed", str(self._seed)])
        process.wait_ready("nginy ready", time.monotonic() + _READY_TIMEOUT_S)
        return process

    def targets(self) -> Sequence[str]:
        """The one address it listens at."""
        return [self._at]

    def stopped(self, realtime_offset_s: float) -> None:
        """Its access log is in form."""


@dataclass(frozen=True)
class NginyKind:
    """See `SystemKind`. The nginy of a checkout, run by this Python."""

    name: str = "nginy"
    checkout: Path = ROOT
    """For `command`: an experiment is always of this one."""
    needs: ClassVar[Mapping[str, str]] = {"env": "coreutils"}
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp", "udp"})

    def check(self, scenario: Scenario) -> None:
        """See `check_config`."""
        check_config(scenario)

    def facts(self) -> Mapping[str, Any]:
        """That of this checkout."""
        return {"name": "nginy", "version": version("nginy")}

    def make(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> NginySystem:
        """See `SystemKind`."""
        return NginySystem(scenario, addresses, balancer, folder)

    def command(self, asked: Forwarding, folder: Path) -> list[str]:
        """Only settings that earlier versions know, too."""
        path = folder / f"{self.name}.yaml"
        rules = [
            {
                "clients": [f"0.0.0.0/0:{port}"],
                "targets": ["b1"],
                "protocol": protocol,
                **({"udp": {"requests": 1, "responses": 1}} if one_answer else {}),
            }
            for port, protocol, one_answer in asked.listeners
        ]
        settings = {
            "backends": [{"id": "b1", "address": asked.backend}],
            "rules": rules,
            "bind_addresses": [asked.host],
            "timeouts": {"drain_timeout_ms": 1},
        }
        path.write_text(json.dumps(settings))  # YAML is a superset of JSON
        # Before what is installed: an editable installation would lead to this checkout.
        place = ["env", "-C", str(self.checkout), f"PYTHONPATH={self.checkout}"]
        return [*place, sys.executable, "-m", "nginy", "run", "-c", str(path)]


def check_config(scenario: Scenario) -> None:
    """Have nginy read the configuration that the scenario would give it.

    Raises:
        ScenarioError: nginy refuses it; the message says why.
    """
    text = io.StringIO()
    addresses = dict.fromkeys(scenario.backend_ids(), "192.0.2.1")  # RFC 5737: nobody's
    YAML(typ="safe").dump(balancer_config(scenario, addresses, Path("connections.jsonl")), text)
    try:
        parse(text.getvalue(), "nginy's configuration as the scenario makes it")
    except ConfigError as error:
        raise ScenarioError(str(error)) from error


def pushes_reports(scenario: Scenario) -> bool:
    """Whether the backends push load reports to the balancer."""
    asked = scenario.balancer.load_reports
    return scenario.algorithm == "adaptive" if asked == "auto" else asked


def probe_port(scenario: Scenario) -> int | None:
    """Where backends answer probes; None if nobody asks."""
    if scenario.algorithm != "prequal":
        return None
    return scenario.algorithm_options.get("probe_port") or PROBE_PORT


def balancer_config(
    scenario: Scenario, addresses: Mapping[str, str], records: Path
) -> dict[str, object]:
    """The configuration file's content: one rule, all clients to all backends."""
    ids = scenario.backend_ids()
    balancer = scenario.balancer
    config = {
        "access_log": str(records),
        "status_socket": "off",
        "timeouts": {"handover_ms": 0, "drain_timeout_ms": round(DRAIN_S * 1000)},
        "backends": [
            _backend(scenario, index, name, addresses[name]) for index, name in enumerate(ids)
        ],
        "clusters": {"all": list(ids)},
        "rules": [_rule(scenario)],
        "health_check": _health_check(scenario),
        "agent_check": _agent_check(scenario),
        "slow_start": _written(balancer.slow_start),
        "retries": _written(balancer.retries),
    }
    if pushes_reports(scenario):
        config["healthcheck_addr"] = f"0.0.0.0:{REPORT_PORT}"
    return {key: value for key, value in config.items() if value}


def _backend(scenario: Scenario, index: int, name: str, host: str) -> dict[str, object]:
    balancer = scenario.balancer
    return {
        "id": name,
        "address": f"{host}:{BACKEND_PORT}",
        "weight": scenario.weight(index),
        "max_connections": balancer.max_connections,
        "max_fails": balancer.max_fails,
        "fail_timeout_s": balancer.fail_timeout_s,
    }


def _rule(scenario: Scenario) -> dict[str, object]:
    balancer = scenario.balancer
    strategy = {"type": scenario.algorithm, **scenario.algorithm_options}
    if (probed := probe_port(scenario)) is not None:
        strategy["probe_port"] = probed
    rule = {
        "clients": [f"0.0.0.0/0:{PORT}"],
        "protocol": scenario.protocol,
        "targets": ["all"],
        "strategy": strategy,
        "all_down": balancer.all_down,
        "queue": _written(balancer.queue),
        "live_connections": _written(balancer.live_connections),
    }
    if scenario.protocol == "udp":
        # A flow of one request is over when it has been answered.
        once = {"responses": 1} if scenario.workload.alone else {}
        rule["udp"] = once | _written(balancer.udp)
    return {key: value for key, value in rule.items() if value}


def _health_check(scenario: Scenario) -> dict[str, Any] | None:
    asked = scenario.balancer.health_check
    if asked != "auto":
        return None if asked is None else _written(asked)
    if not scenario.faults:
        return None
    if scenario.backends.server == "command":
        # It has no other port than its service's.
        return {"type": "tcp", **{key: HEALTH_CHECK[key] for key in HEALTH_CHECK.keys() - {"port"}}}
    if scenario.protocol == "tcp":
        return {"type": "tcp", **HEALTH_CHECK}
    words = {"send": HEALTH_QUESTION.decode(), "expect": HEALTH_ANSWER.decode()}
    return {"type": "udp", **HEALTH_CHECK, **words}


def _agent_check(scenario: Scenario) -> dict[str, Any] | None:
    asked = scenario.balancer.agent_check
    if asked != "auto":
        return None if asked is None else _written(asked)
    drained = any(fault.action == "drain" for fault in scenario.faults)
    return dict(AGENT_CHECK) if drained else None


def _written(settings: BaseModel) -> dict[str, Any]:
    """What the scenario wrote, without the defaults."""
    return settings.model_dump(mode="json", exclude_unset=True)
