"""Where the scenes play: a backend, one balancer at a time, clients, all on loopback.

Clients and the backend share the first core and the balancer has the last one, as in the benchmark
of UDP, so that what a client waits for is the balancer.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from experiments.bench.needs import BenchError
from experiments.bench.program import running
from experiments.lab.metadata import ROOT
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems.contract import Forwarding, Listener, SystemKind
from experiments.stress.backend import READY
from experiments.stress.ends import HOST
from nginy.config.schema import FileSettings

CORES = sorted(os.sched_getaffinity(0))
START_TIMEOUT_S = 20.0
PING_PORT, LOAD_PORT, UDP_PORT, REPORT_PORT = 8181, 8182, 8183, 8184
"""Of the balancer."""
BACKEND_PORT = 8180


class Ping(NamedTuple):
    """What a bystander has seen, ms."""

    p99: float
    longest: float


class Rig:
    """One scene's processes; leaving the block ends them all."""

    def __init__(self, directory: Path) -> None:
        """Logs and configurations go to `directory`."""
        self._own = ExitStack()
        self._directory = directory
        self._clients = ProcessGroup(_on_first_core, directory)
        self._started = 0
        self._config = Path()
        """Of the balancer that was started last."""

    def __enter__(self) -> Self:
        """With a backend. Raises ProcessFailed."""
        self._own.enter_context(self._clients)
        self.client("serve", BACKEND_PORT)
        return self

    def __exit__(self, *_: object) -> None:
        """End all."""
        self._own.close()

    def balancer(self, peer: SystemKind) -> HostProcess:
        """This one in front of the backend, at the TCP ports and, if it can, the UDP port."""
        ports = [Listener(PING_PORT), Listener(LOAD_PORT)]
        if "udp" in peer.protocols:
            ports.append(Listener(UDP_PORT, "udp"))
        asked = Forwarding(HOST, tuple(ports), f"{HOST}:{BACKEND_PORT}")
        argv = peer.command(asked, self._directory)
        assert argv is not None, "a balancer is a process"
        return self._run(peer.name, argv)

    def nginy(self, backends: Sequence[dict[str, Any]], **settings: Any) -> HostProcess:
        """nginy with these behind LOAD_PORT (`rule`: more of that rule), the backend behind
        PING_PORT, and `settings` at the top of the file."""
        listed = [{"id": "ping", "address": f"{HOST}:{BACKEND_PORT}"}, *backends]
        rule = {"clients": [f"0.0.0.0/0:{LOAD_PORT}"], "targets": [b["id"] for b in backends]}
        ping = {"clients": [f"0.0.0.0/0:{PING_PORT}"], "targets": ["ping"]}
        document = {
            "backends": listed,
            "rules": [ping, {**rule, **settings.pop("rule", {})}],
            "bind_addresses": [HOST],
            "timeouts": {"drain_timeout_ms": 1},
            **settings,
        }
        assert settings.keys() <= FileSettings.model_fields.keys()
        path = self._directory / "nginy.yaml"
        path.write_text(json.dumps(document))
        return self._run("nginy", [sys.executable, "-m", "nginy", "run", "-c", str(path)])

    def loop_lag_ms(self) -> float:
        """p99 over the last minute of the nginy that was started last, as `nginy status` tells it.
        Raises BenchError if it does not."""
        argv = [sys.executable, "-m", "nginy", "status", "--json", "-c", str(self._config)]
        asked = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
        if asked.returncode:
            raise BenchError(f"nginy does not tell its status: {asked.stderr}")
        return float(json.loads(asked.stdout)["loop_lag"]["p99_ms"])

    def client(self, action: str, *arguments: object) -> HostProcess:
        """A process of `ends`, once its load is on. Raises ProcessFailed."""
        self._started += 1
        argv = [sys.executable, "-m", "experiments.stress.ends", action, *map(str, arguments)]
        process = self._clients.start(f"{self._started}", action, argv)
        process.wait_ready(READY, time.monotonic() + START_TIMEOUT_S)
        return process

    def ping(self, seconds: float) -> HostProcess:
        """The bystander, for so long; see `pinged`."""
        return self.client("ping", PING_PORT, seconds)

    def _run(self, name: str, argv: Sequence[str]) -> HostProcess:
        self._started += 1
        if "-c" in argv:
            self._config = Path(argv[argv.index("-c") + 1])
        process = self._own.enter_context(
            running(_on_last_core, f"{self._started}", name, argv, self._directory)
        )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _listening(PING_PORT):
            if not process.running() or time.monotonic() > deadline_s:
                raise BenchError(f"{name} does not listen at port {PING_PORT}")
            time.sleep(0.02)
        return process


def result(process: HostProcess, timeout_s: float = 40.0) -> dict[str, float]:
    """What a client prints at its end. Raises BenchError if it does not."""
    deadline_s = time.monotonic() + timeout_s
    while process.running():
        if time.monotonic() > deadline_s:
            raise BenchError(f"{process} took more than {timeout_s:g} s")
        time.sleep(0.02)
    lines = process.text().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise BenchError(f"{process} printed no result: {process.text()}")
    found: dict[str, float] = json.loads(lines[-1])
    return found


def pinged(process: HostProcess) -> Ping:
    """The result of `Rig.ping`."""
    found = result(process)
    return Ping(found["p99"], found["longest"])


def _listening(port: int) -> bool:
    return f"0100007F:{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


def _on_first_core(_: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    return subprocess.Popen(["taskset", "-c", str(CORES[0]), *argv], cwd=ROOT, **options)


def _on_last_core(_: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    return subprocess.Popen(["taskset", "-c", str(CORES[-1]), *argv], cwd=ROOT, **options)
