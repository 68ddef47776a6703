"""HAProxy (TCP mode) as the system under test: one thread, splicing, one backend group."""

import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from experiments.lab.ports import AGENT_PORT, BACKEND_PORT, HEALTH_PORT, PORT
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems.contract import Forwarding, TransportProtocol
from experiments.lab.systems.refusals import refuse_settings
from experiments.plan.scenario import Scenario, ScenarioError

_READY_TIMEOUT_S = 15.0
ENDED_BY_SIGTERM = -signal.SIGTERM
"""Its exit status then, without a master process."""

ALGORITHMS = {
    "round_robin": "roundrobin",
    "least_conn": "leastconn",
    "random": "random(1)",
    "random_two": "random(2)",
    "first": "first",
    "source": "source",
}
"""The same rules under HAProxy's names; who comes first among equals differs. Of `source`, nginy's
choices are compared with HAProxy's, recorded, in tests/unit/balancer/test_haproxy_vectors.py."""
HASH_TYPES = {"map": "map-based", "consistent": "consistent"}

COMMON = """
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 10m
    timeout server 10m
"""
"""One thread, splicing where it helps: its manual's advice for forwarding of TCP. As many clients
as nginx's 8 000 connections, two for each, let in."""
CONFIG = """
global
    log stdout format raw local0 info
{common}
    log global
    option redispatch
    retries 3
    log-format '{record}'
listen all
    bind :{port} backlog 4096
    balance {balance}
{servers}
"""
"""`COMMON`, whose last section goes on; with another server for the last try."""
_RECORD = {
    "client": "%ci:%cp",
    "listener": "%fi:%fp",
    "backend": "%s",
    "server": "%si:%sp",
    "accepted_s": "%Ts.%ms",
    "total_ms": "%Tt",
    "connect_ms": "%Tc",
    "up": "%U",
    "down": "%B",
    "state": "%ts",
}
_REASONS = {
    "--": "completed",
    "CD": "client_reset",
    "cD": "idle_timeout",
    "SD": "backend_reset",
    "sD": "idle_timeout",
    "SC": "connect_failed",
    "sC": "connect_timeout",
}
"""Its session states (management of logs, "Session state at disconnection"); any other is told by
its letters."""
_NOBODY = "<NOSRV>"


class HAProxy:
    """One HAProxy in the balancer's host."""

    def __init__(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> None:
        """`addresses` gives every host's IP address; its files go to `folder`."""
        self.records: Path | None = folder / "connections.jsonl"
        self.records_exact = False  # its clock in the log has milliseconds
        self._config = folder / "haproxy.cfg"
        self._config.write_text(_config(scenario, addresses))
        self._at = f"{addresses[balancer]}:{PORT}"
        self._logs: list[HostProcess] = []

    def start(self, group: ProcessGroup, host: str) -> HostProcess:
        """Start it in `host` and wait until it listens; ProcessFailed if it does not."""
        process = group.start(
            host,
            "haproxy",
            ["haproxy", "-db", "-f", str(self._config)],
            exit_codes=(0, ENDED_BY_SIGTERM),
        )
        process.wait_listening(PORT, time.monotonic() + _READY_TIMEOUT_S)
        self._logs.append(process)
        return process

    def targets(self) -> Sequence[str]:
        """The one address it listens at."""
        return [self._at]

    def stopped(self, realtime_offset_s: float) -> None:
        """Its log lines, in the form of nginy's access log."""
        assert self.records is not None
        lines = [
            line
            for process in self._logs
            for line in process.text().splitlines()
            if line.startswith("{")
        ]
        with self.records.open("wb") as records:
            for number, line in enumerate(lines, start=1):
                record = _record(number, orjson.loads(line), realtime_offset_s)
                records.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _record(number: int, entry: Mapping[str, str], offset_s: float) -> dict[str, Any]:
    opened_s = float(entry["accepted_s"]) - offset_s
    backend = None if entry["backend"] == _NOBODY else entry["backend"]
    connect_ms = float(entry["connect_ms"])
    return {
        "id": number,
        "rule": "haproxy",
        "listener": entry["listener"],
        "client": entry["client"],
        "backend": backend,
        "backend_address": entry["server"] if backend else None,
        "opened_s": opened_s,
        "closed_s": opened_s + float(entry["total_ms"]) / 1e3,
        "connect_ms": connect_ms if connect_ms >= 0 else None,
        "first_byte_ms": None,
        "duration_ms": float(entry["total_ms"]),
        "bytes_up": int(entry["up"]),
        "bytes_down": int(entry["down"]),
        "backends_tried": [backend] if backend else [],
        "close_reason": _REASONS.get(entry["state"], f"state {entry['state']}")
        if backend
        else "no_backend",
        "protocol": "tcp",
    }


def _config(scenario: Scenario, addresses: Mapping[str, str]) -> str:
    balance = ALGORITHMS[scenario.algorithm]
    if scenario.algorithm == "source":
        method = HASH_TYPES[scenario.algorithm_options.get("method", "map")]
        balance += f"\n    hash-type {method}"
    checks = ""
    if scenario.faults:
        # As often, and as soon convinced, as nginy's (experiments/lab/systems/nginy.py).
        checks = f" check port {HEALTH_PORT} inter 500ms fall 2 rise 2"
        if any(fault.action == "drain" for fault in scenario.faults):
            checks += f" agent-check agent-port {AGENT_PORT} agent-inter 500ms"
    at = {name: f"{addresses[name]}:{BACKEND_PORT}" for name in scenario.backend_ids()}
    servers = "\n".join(
        f"    server {name} {address} weight {scenario.weight(index)}{checks}"
        for index, (name, address) in enumerate(at.items())
    )
    record = orjson.dumps(_RECORD).decode()
    return CONFIG.format(common=COMMON, port=PORT, balance=balance, servers=servers, record=record)


@dataclass(frozen=True)
class HAProxyKind:
    """See `SystemKind`."""

    name: str = "haproxy"
    needs: ClassVar[Mapping[str, str]] = {"haproxy": "haproxy"}
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp"})

    def check(self, scenario: Scenario) -> None:
        """It has six of the algorithms, and no UDP."""
        if scenario.protocol == "udp":
            raise ScenarioError("system haproxy: it proxies no UDP; PROTO=tcp, or system nginx")
        if scenario.algorithm not in ALGORITHMS:
            raise ScenarioError(
                f"system haproxy: it has no {scenario.algorithm}; it has: {', '.join(ALGORITHMS)}"
            )
        method = {"method"} if scenario.algorithm == "source" else set()
        refuse_settings(scenario, "haproxy", allowed=(), options=method, asks_agents=True)

    def facts(self) -> Mapping[str, Any]:
        """Its version, as it says. Raises ScenarioError if it is not installed."""
        try:
            said = subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout
        except FileNotFoundError:
            raise ScenarioError(
                "system haproxy: it is not installed; `experiments/setup.sh --bench` installs it"
            ) from None
        found = re.search(r"version (\S+)", said)
        return {"name": "haproxy", "version": found[1] if found else said.strip()}

    def make(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> HAProxy:
        """See `SystemKind`."""
        return HAProxy(scenario, addresses, balancer, folder)

    def command(self, asked: Forwarding, folder: Path) -> list[str]:
        """TCP only: it has no proxying of UDP in general."""
        path = folder / f"{self.name}.cfg"
        listeners = (
            f"listen port{port}\n    bind {asked.host}:{port} backlog 4096\n"
            f"    server b1 {asked.backend}\n"
            for port, _, _ in asked.listeners
        )
        path.write_text(COMMON + "".join(listeners))
        return ["haproxy", "-db", "-f", str(path)]
