"""TCP, in a lab of namespaces, a web server behind the balancers and wrk in front of them.

All run at once and are measured in turn, in another order each round, so that what disturbs the
machine disturbs all alike. For memory each is started anew, so that nothing is left to be reused.
"""

import os
import random
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from experiments.bench.client import HELD
from experiments.bench.lab import BACKEND_ADDRESS, BALANCER_ADDRESS, Lab
from experiments.bench.needs import BenchError, require
from experiments.bench.plan import Plan, Record, turns
from experiments.bench.program import cpu_s, memory_bytes, running
from experiments.bench.report import Sample
from experiments.lab.processes import HostProcess, ProcessGroup
from experiments.lab.systems import SYSTEMS, nginx
from experiments.lab.systems.contract import Forwarding, Listener, SystemKind

RATES = ("requests", "connections", "bulk")
MEMORY = "tcp-memory"
NEEDS = {"ip": "iproute2", "wrk": "wrk", **SYSTEMS["nginx"].needs}
CONNECTIONS = 64
HOLD_TIMEOUT_S = 60.0
ANY_ADDRESS = "0.0.0.0"
BACKEND_PORT = 8080
FIRST_PORT = 8081
"""Of the balancers; each has one of its own."""
BACKEND_CONF = """
http {{
    access_log off; sendfile on; keepalive_requests 1000000000; tcp_nodelay on;
    server {{
        listen {port} backlog=4096;
        location = /small {{ return 200 "hello world\\n"; }}
        location = /bulk {{ alias {directory}/bulk; }}
    }}
}}
"""


class System(NamedTuple):
    """What the client connects to; the backend itself has no balancer."""

    name: str
    host: str
    port: int
    balancer: HostProcess | None = None


def measure(plan: Plan, record: Record) -> None:
    """The workloads of TCP. Raises BenchError."""
    if os.geteuid():
        raise BenchError("network namespaces need root: try sudo")
    require([NEEDS, *(peer.needs for peer in plan.peers)])
    with tempfile.TemporaryDirectory(prefix="nginy-bench-") as name, Lab() as lab:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker is nobody, and reads the payload
        _write_bulk(directory, plan.bulk_mib if "bulk" in plan.workloads else 1)
        conf = BACKEND_CONF.format(port=BACKEND_PORT, directory=directory)
        argv = nginx.command("backend", conf, directory)
        with running(lab.popen, "backend", "backend", argv, directory):
            if plan.chosen(*RATES):
                _measure_rates(plan, lab, directory, record)
            if MEMORY in plan.workloads:
                _measure_memory(plan, lab, directory, record)


def _write_bulk(directory: Path, size_mib: int) -> None:
    """A file that is the same every time, no two blocks of it alike."""
    rng = random.Random(1)
    with (directory / "bulk").open("wb") as file:
        for _ in range(size_mib):
            file.write(rng.randbytes(1 << 20))


def _measure_rates(plan: Plan, lab: Lab, directory: Path, record: Record) -> None:
    with ExitStack() as own:
        kinds = [SYSTEMS["direct"], *plan.carrying("tcp")]
        systems = [
            _start(own, lab, kind, port, directory) for port, kind in enumerate(kinds, FIRST_PORT)
        ]
        _verify_payloads(lab, systems)
        for number in range(plan.rounds):
            for workload in plan.chosen(*RATES):
                for system in turns(systems, number):
                    record(_rate(lab, system, workload, plan, number))


def _start(own: ExitStack, lab: Lab, kind: SystemKind, port: int, directory: Path) -> System:
    """Ready once the client's check passes."""
    asked = Forwarding(ANY_ADDRESS, (Listener(port),), f"{BACKEND_ADDRESS}:{BACKEND_PORT}")
    argv = kind.command(asked, directory)
    if argv is None:
        return System(kind.name, BACKEND_ADDRESS, BACKEND_PORT)
    balancer = own.enter_context(running(lab.popen, "balancer", kind.name, argv, directory))
    return System(kind.name, BALANCER_ADDRESS, port, balancer)


def _verify_payloads(lab: Lab, systems: list[System]) -> None:
    """Untimed: wait until all answer, compare small responses and the bulk payload."""
    digests = {system.name: _client(lab, "verify", system) for system in systems}
    if len(set(digests.values())) != 1:
        raise BenchError(f"payloads differ: {digests}")


def _rate(lab: Lab, system: System, workload: str, plan: Plan, number: int) -> Sample:
    """Of this system in this round, with the CPU time it took its balancer."""
    cpu_before_s = cpu_s(system.balancer) if system.balancer else 0.0
    if workload == "bulk":
        rate, done = float(_client(lab, "download", system)), plan.bulk_mib * (1 << 20) / 1e9
    else:
        closing = ["-H", "Connection: close"] if workload == "connections" else []
        rate = _wrk(lab, system, plan.seconds, closing)
        done = rate * plan.seconds
    cpu_us = (cpu_s(system.balancer) - cpu_before_s) / done * 1e6 if system.balancer else None
    return Sample(number, workload, system.name, rate, cpu_us)


def _wrk(lab: Lab, system: System, seconds: int, options: list[str]) -> float:
    url = f"http://{system.host}:{system.port}/small"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, url]
    try:
        return parse_wrk(lab.run("client", command, seconds + 30.0))
    except BenchError as error:
        raise BenchError(f"{system.name}: {error}") from error


def parse_wrk(output: str) -> float:
    """Requests per second from wrk's report. Raises BenchError if any request failed."""
    if failure := re.search(r"(Socket errors|Non-2xx).*", output):
        raise BenchError(f"wrk: {failure[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise BenchError(f"wrk printed no rate: {output}")
    return float(rate[1])


def _client_command(action: str, system: System, *more: str) -> list[str]:
    module = [sys.executable, "-m", "experiments.bench.client"]
    return [*module, action, system.host, str(system.port), *more]


def _client(lab: Lab, action: str, system: System) -> str:
    try:
        return lab.run("client", _client_command(action, system), 120.0).strip()
    except BenchError:
        if system.balancer:
            system.balancer.running()  # quotes it, if it has ended with an error
        raise


def _measure_memory(plan: Plan, lab: Lab, directory: Path, record: Record) -> None:
    for number in range(plan.rounds):
        for peer in turns(plan.carrying("tcp"), number):
            value = _memory_each(lab, peer, plan.held, directory)
            record(Sample(number, MEMORY, peer.name, value))


def _memory_each(lab: Lab, peer: SystemKind, held: int, directory: Path) -> float:
    """Bytes that an idle connection adds; one has been carried before, and its pages are there."""
    with ExitStack() as own:
        system = _start(own, lab, peer, FIRST_PORT, directory)
        balancer = system.balancer
        assert balancer is not None, "memory is measured of a process"
        _client(lab, "ready", system)
        before = memory_bytes(balancer)
        clients = own.enter_context(ProcessGroup(lab.popen, directory))
        argv = _client_command("hold", system, str(held))
        holding = clients.start("client", f"hold-{peer.name}", argv)
        holding.wait_ready(HELD, time.monotonic() + HOLD_TIMEOUT_S)
        return (memory_bytes(balancer) - before) / held
