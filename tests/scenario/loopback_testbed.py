"""Load generators, nginy and emulated backends as real processes on this machine's loopback."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow.parquet as pq

from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.plan.workload.kinds import Requests
from experiments.plan.workload.plan import ClientPlan, Who, plan_client, plan_frame
from experiments.tables.schema import to_arrow

DEADLINE_S = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Traffic(NamedTuple):
    """What one load generator wrote."""

    exit_status: int
    requests: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    summary: dict[str, Any]


class Backend(NamedTuple):
    """A running emulated backend."""

    id: str
    address: str
    process: HostProcess
    samples: Path

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, for example to stop it for a while."""
        self.process._process.send_signal(number)

    def stop(self) -> list[dict[str, Any]]:
        """End it; all lines that it wrote, the final counters last."""
        self.process.stop()
        return [orjson.loads(line) for line in self.samples.read_bytes().splitlines()]


class LoopbackTestbed:
    """Starts the programs; leaving the context kills what still runs."""

    def __init__(self, folder: Path) -> None:
        """Logs and results are written into `folder`."""
        self.folder = folder
        self._group = ProcessGroup(_popen, folder)
        self._generators: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "LoopbackTestbed":
        self._group.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._generators.values():
            process.kill()
            process.wait()
        self._group.__exit__(*error)

    def backend(self, backend_id: str, host: str = "127.0.0.1", **options: object) -> Backend:
        """An emulated backend that listens; `options` are its command line's."""
        address = f"{host}:{free_port()}"
        samples = self.folder / f"samples-{backend_id}.jsonl"
        process = self._group.start(
            backend_id,
            "backend",
            _module(
                "experiments.hosts.backend.server",
                {"id": backend_id, "listen": address, "samples": samples, **options},
            ),
        )
        process.wait_ready("ready", time.monotonic() + DEADLINE_S)
        return Backend(backend_id, address, process, samples)

    def nginy(
        self,
        name: str,
        backends: list[Backend],
        algorithm: str,
        seed: int,
        weights: Sequence[int] = (),
    ) -> str:
        """A balancer that listens; its address. `weights`: one per backend, or all 1."""
        port = free_port()
        weighted = zip(backends, weights or [1] * len(backends), strict=True)
        config = {
            "bind_addresses": ["127.0.0.1"],
            "status_socket": "off",
            "backends": [{"id": b.id, "address": b.address, "weight": w} for b, w in weighted],
            "rules": [
                {
                    "clients": [f"127.0.0.0/8:{port}"],
                    "targets": [b.id for b in backends],
                    "strategy": {"type": algorithm},
                }
            ],
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(config))  # JSON is YAML
        argv = [sys.executable, "-m", "nginy", "run", "-c", str(path), "--seed", str(seed)]
        process = self._group.start(name, "nginy", argv)
        process.wait_ready("nginy ready", time.monotonic() + DEADLINE_S)
        return f"127.0.0.1:{port}"

    def start_generator(self, client: str, target: str, **options: object) -> None:
        """Start sending to `target`; `options` are the load generator's, or of what it sends
        (`_plan`)."""
        files = {
            name: self.folder / f"{name}-{client}.json" for name in ("requests", "samples")
        } | {"summary": self._summary(client), "plan": self.folder / f"plan-{client}.parquet"}
        asked = {"index": 0, "seed": 1, "duration_s": 0.6, **options}
        plan = plan_frame([client], [_plan(asked)])
        pq.write_table(to_arrow("plan", plan), files["plan"])
        own = {name: value for name, value in asked.items() if name not in PLANNED}
        argv = _module(
            "experiments.hosts.client.load_generator",
            {"client": client, "target": target, **own, **files},
        )
        self._generators[client] = subprocess.Popen(argv, stdout=subprocess.PIPE)

    def wait_ready(self, client: str) -> None:
        """Wait until a generator has drawn its workload; it sends 100 ms later."""
        output = self._generators[client].stdout
        assert output is not None
        assert output.readline() == b"ready\n"

    def signal(self, client: str, number: signal.Signals) -> None:
        """Send a generator a signal."""
        self._generators[client].send_signal(number)

    def finish(self, client: str, timeout_s: float = DEADLINE_S) -> Traffic:
        """Wait for a generator to end; all that it wrote (nothing, if it never sent)."""
        status = self._generators[client].wait(timeout_s)
        if not self._summary(client).exists():
            return Traffic(status, [], [], {})
        requests, samples = (
            [orjson.loads(line) for line in path.read_bytes().splitlines()]
            for path in (self.folder / f"{name}-{client}.json" for name in ("requests", "samples"))
        )
        return Traffic(status, requests, samples, orjson.loads(self._summary(client).read_bytes()))

    def send(self, target: str, **options: object) -> Traffic:
        """One generator's whole run."""
        self.start_generator("c1", target, **options)
        return self.finish("c1")

    def _summary(self, client: str) -> Path:
        return self.folder / f"summary-{client}.json"


PLANNED = {
    "rate": 100.0,
    "mode": "per_request",
    "connections": 1,
    "mean_demand_ms": 2.0,
    "distribution": "exponential",
    "cv2": 4.0,
    "response_bytes": 1000,
    "request_bytes": 0,
}
"""What a client sends unless told otherwise; `rate` in requests per second."""


def _plan(asked: Mapping[str, Any]) -> ClientPlan:
    work = {name: asked.get(name, usual) for name, usual in PLANNED.items()}
    rate, cv2 = work.pop("rate"), work.pop("cv2")
    who = Who(asked["index"], 1, asked["seed"], asked["duration_s"], rate)
    return plan_client(Requests(**work, demand_cv2=cv2), who)


def _popen(_host: str, argv: list[str], **options: Any) -> "subprocess.Popen[Any]":
    return subprocess.Popen(argv, **options)


def _dashed(options: dict[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in options.items()}


def _module(module: str, options: dict[str, object]) -> list[str]:
    argv = [sys.executable, "-m", module]
    for name, value in _dashed(options).items():
        argv += [f"--{name}", str(value)]
    return argv
