"""nginx (its stream module) as the system under test: one worker, one backend group."""

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson

from experiments.lab.ports import BACKEND_PORT, PORT
from experiments.lab.processes import HostProcess, ProcessFailed, ProcessGroup
from experiments.lab.systems.contract import Forwarding, TransportProtocol
from experiments.lab.systems.refusals import refuse_settings
from experiments.plan.scenario import Scenario, ScenarioError

_READY_TIMEOUT_S = 15.0
_POLL_S = 0.02
ALGORITHMS = {
    "round_robin": "",
    "least_conn": "least_conn;",
    "random": "random;",
    "random_two": "random two least_conn;",
    "hash": "hash $remote_addr;",
    "ketama": "hash $remote_addr consistent;",
}
"""The same rules under nginx's names: nginy's choices are compared with nginx's, recorded, in
tests/unit/balancer/test_nginx_vectors.py."""

_LISTEN = {"udp": "udp", "tcp": "backlog=4096"}
ONE_ANSWER = " proxy_requests 1; proxy_responses 1; "

COMMON = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 1; worker_rlimit_nofile 16384;
pid {directory}/{name}.pid; error_log {directory}/{name}.error.log;
events {{ worker_connections 8000; }}
"""
_LOG = {
    "client": "$remote_addr:$remote_port",
    "listener": "$server_addr:$server_port",
    "address": "$upstream_addr",
    "closed_s": "$msec",
    "duration_s": "$session_time",
    "connect_s": "$upstream_connect_time",
    "first_byte_s": "$upstream_first_byte_time",
    "bytes_up": "$bytes_received",
    "bytes_down": "$bytes_sent",
    "status": "$status",
}
_STATUS = {"200": "completed", "502": "connect_failed", "503": "no_backend"}
"""Of ngx_stream_session_t; any other is told by its number."""


def command(name: str, blocks: str, directory: Path) -> list[str]:
    """An nginx with these blocks beside `COMMON`, its files in `directory`."""
    path = directory / f"{name}.conf"
    path.write_text(COMMON.format(directory=directory, name=name) + blocks)
    return ["nginx", "-c", str(path), "-p", str(directory)]


class Nginx:
    """One nginx in the balancer's host."""

    def __init__(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> None:
        """`addresses` gives every host's IP address; its files go to `folder`."""
        self.records: Path | None = folder / "connections.jsonl"
        self.records_exact = False  # its clock in the log has milliseconds
        self._log = folder / "nginx.access.jsonl"
        self._scenario = scenario
        self._at = f"{addresses[balancer]}:{PORT}"
        self._backends = {
            f"{addresses[name]}:{BACKEND_PORT}": name for name in scenario.backend_ids()
        }
        self._argv = command("nginx", stream_blocks(scenario, self._backends, self._log), folder)
        self._pid_file = folder / "nginx.pid"

    def start(self, group: ProcessGroup, host: str) -> HostProcess:
        """Start it in `host` and wait until its master has started its worker."""
        process = group.start(host, "nginx", self._argv)
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        while not (self._pid_file.exists() and _children(process.pid)):
            if not process.running() or time.monotonic() > deadline_s:
                raise ProcessFailed(f"{process} is not ready: {process.text()}")
            time.sleep(_POLL_S)
        return process

    def targets(self) -> Sequence[str]:
        """The one address it listens at."""
        return [self._at]

    def stopped(self, realtime_offset_s: float) -> None:
        """Its access log, in the form of nginy's."""
        assert self.records is not None
        with self._log.open("rb") as lines, self.records.open("wb") as records:
            for number, line in enumerate(lines, start=1):
                record = self._record(number, orjson.loads(line), realtime_offset_s)
                records.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def _record(self, number: int, entry: dict[str, str], offset_s: float) -> dict[str, Any]:
        closed_s = float(entry["closed_s"]) - offset_s
        duration_s = float(entry["duration_s"])
        tried = [each.strip() for each in entry["address"].split(",") if each.strip() != "-"]
        return {
            "id": number,
            "rule": "nginx",
            "listener": entry["listener"],
            "client": entry["client"],
            "backend": self._backends.get(tried[-1]) if tried else None,
            "backend_address": tried[-1] if tried else None,
            "opened_s": closed_s - duration_s,
            "closed_s": closed_s,
            "connect_ms": _last_ms(entry["connect_s"]),
            "first_byte_ms": _last_ms(entry["first_byte_s"]),
            "duration_ms": duration_s * 1e3,
            "bytes_up": int(entry["bytes_up"]),
            "bytes_down": int(entry["bytes_down"]),
            "backends_tried": [self._backends.get(each, each) for each in tried],
            "close_reason": _STATUS.get(entry["status"], f"status {entry['status']}"),
            "protocol": self._scenario.protocol,
        }


def stream_blocks(scenario: Scenario, backends: Mapping[str, str], log: Path) -> str:
    """The configuration: `backends` are `ip:port` by name."""
    balancer = scenario.balancer
    servers = "".join(
        f"server {address} weight={scenario.weight(index)} max_fails={balancer.max_fails} "
        f"fail_timeout={balancer.fail_timeout_s:g}s max_conns={balancer.max_connections}; "
        for index, address in enumerate(backends)
    )
    once = ONE_ANSWER if _one_answer(scenario) else ""
    entry = json.dumps(_LOG)
    return (
        f"stream {{ log_format run escape=json '{entry}'; access_log {log} run; "
        f"upstream all {{ {ALGORITHMS[scenario.algorithm]} {servers} }} "
        f"server {{ listen {PORT} {_LISTEN[scenario.protocol]}; tcp_nodelay on; {once}"
        f"proxy_connect_timeout 5s; proxy_pass all; }} }}"
    )


def _one_answer(scenario: Scenario) -> bool:
    return scenario.protocol == "udp" and scenario.workload.alone


def _last_ms(text: str) -> float | None:
    """Of `0.001` or, after other backends, `-, 0.002`."""
    last = text.rpartition(",")[2].strip()
    return float(last) * 1e3 if last not in ("", "-") else None


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


@dataclass(frozen=True)
class NginxKind:
    """See `SystemKind`."""

    name: str = "nginx"
    needs: ClassVar[Mapping[str, str]] = {
        "nginx": "nginx-light",
        "/usr/lib/nginx/modules/ngx_stream_module.so": "libnginx-mod-stream",
    }
    protocols: ClassVar[frozenset[TransportProtocol]] = frozenset({"tcp", "udp"})

    def check(self, scenario: Scenario) -> None:
        """It has six of the algorithms, without options, and looks at failures only."""
        if scenario.algorithm not in ALGORITHMS:
            raise ScenarioError(
                f"system nginx: it has no {scenario.algorithm}; it has: {', '.join(ALGORITHMS)}"
            )
        refuse_settings(
            scenario, "nginx", allowed=("max_fails", "fail_timeout_s", "max_connections")
        )

    def facts(self) -> Mapping[str, Any]:
        """Its version, as it says. Raises ScenarioError if it is not installed."""
        try:
            said = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
        except FileNotFoundError:
            raise ScenarioError(
                "system nginx: it is not installed; `experiments/setup.sh --bench` installs it"
            ) from None
        found = re.search(r"nginx/(\S+)", said)
        return {"name": "nginx", "version": found[1] if found else said.strip()}

    def make(
        self, scenario: Scenario, addresses: Mapping[str, str], balancer: str, folder: Path
    ) -> Nginx:
        """See `SystemKind`."""
        return Nginx(scenario, addresses, balancer, folder)

    def command(self, asked: Forwarding, folder: Path) -> list[str]:
        """Its stream module, with defaults."""
        servers = (
            f"server {{ listen {asked.host}:{port} {_LISTEN[protocol]}; proxy_pass {asked.backend};"
            f"{ONE_ANSWER if one_answer else ''} }}"
            for port, protocol, one_answer in asked.listeners
        )
        return command(self.name, "\n".join(["stream {", *servers, "}"]), folder)
