"""UDP on loopback, through the balancers that carry it.

Round trips belong to sessions that live on; of new sessions every datagram begins one, which ends
with its answer. One process is the clients and the backend (an echo), on one core; the balancers
share another, idle but for the one that is measured. The clients keep a fixed number of datagrams
under way, so the balancer is what is waited for. For memory each is started anew.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from experiments.bench.needs import BenchError, require
from experiments.bench.plan import Plan, Record, turns
from experiments.bench.program import cpu_s, memory_bytes, running
from experiments.bench.report import Sample
from experiments.bench.udp_load import Load, udp_socket
from experiments.lab.processes import HostProcess
from experiments.lab.systems.contract import Forwarding, Listener, SystemKind

ROUND_TRIPS = "udp-round-trips"
NEW_SESSIONS = "udp-sessions"
MEMORY = "udp-memory"
HOST = "127.0.0.1"
NEEDS = {"taskset": "util-linux"}
LAST_CORE = max(os.sched_getaffinity(0))
"""Of those this process had when it began."""
START_TIMEOUT_S = 10.0
WINDOW = 64
"""Datagrams under way."""
CLIENTS = {ROUND_TRIPS: 16, NEW_SESSIONS: WINDOW}
SIZE = 64
"""Bytes of a datagram."""


class Balancer(NamedTuple):
    """One that runs, and its ports by workload."""

    name: str
    ports: dict[str, int]
    process: HostProcess


def measure(plan: Plan, record: Record) -> None:
    """The workloads of UDP. Raises BenchError."""
    peers = plan.carrying("udp")
    require([NEEDS, *(peer.needs for peer in peers)])
    with ExitStack() as own:
        name = own.enter_context(tempfile.TemporaryDirectory(prefix="nginy-bench-"))
        own.enter_context(_on_first_core())
        load = Load(own, WINDOW, SIZE)
        if workloads := plan.chosen(ROUND_TRIPS, NEW_SESSIONS):
            _measure_rates(plan, workloads, load, Path(name), record)
        if MEMORY in plan.workloads:
            for number in range(plan.rounds):
                for peer in turns(peers, number):
                    value = _memory_each(load, peer, plan.held, Path(name))
                    record(Sample(number, MEMORY, peer.name, value))


def _measure_rates(
    plan: Plan, workloads: Sequence[str], load: Load, directory: Path, record: Record
) -> None:
    with ExitStack() as own:
        balancers = [
            own.enter_context(_started(peer, (ROUND_TRIPS, NEW_SESSIONS), load, directory))
            for peer in plan.carrying("udp")
        ]
        for balancer in balancers:
            load.check_new_sessions(balancer.ports[NEW_SESSIONS])
        for number in range(plan.rounds):
            for workload in workloads:
                for balancer in turns(balancers, number):
                    record(_rate(load, balancer, workload, plan.seconds, number))


def _rate(load: Load, balancer: Balancer, workload: str, seconds: int, number: int) -> Sample:
    before_s = cpu_s(balancer.process)
    count = load.run(balancer.ports[workload], seconds, CLIENTS[workload])
    cpu_us = (cpu_s(balancer.process) - before_s) / count * 1e6
    return Sample(number, workload, balancer.name, count / seconds, cpu_us)


def _memory_each(load: Load, peer: SystemKind, held: int, directory: Path) -> float:
    """Bytes that an idle session adds; one has been carried before, and its pages are there."""
    with _started(peer, (ROUND_TRIPS,), load, directory) as balancer:
        port = balancer.ports[ROUND_TRIPS]
        with load.held(port, 1):
            before = memory_bytes(balancer.process)
            with load.held(port, held):
                return (memory_bytes(balancer.process) - before) / held


@contextmanager
def _started(
    peer: SystemKind, workloads: Sequence[str], load: Load, directory: Path
) -> Iterator[Balancer]:
    """On the last core, a port for each workload. Raises BenchError, ProcessFailed."""
    ports = dict(zip(workloads, _free_ports(len(workloads)), strict=True))
    listeners = (Listener(port, "udp", name == NEW_SESSIONS) for name, port in ports.items())
    asked = Forwarding(HOST, tuple(listeners), f"{HOST}:{load.backend_port}")
    argv = peer.command(asked, directory)
    assert argv is not None, "a balancer is a process"
    with running(_popen_on_last_core, "udp", peer.name, argv, directory) as process:
        for port in ports.values():
            _await_bound(process, port)
        yield Balancer(peer.name, ports, process)


def _await_bound(process: HostProcess, port: int) -> None:
    """Until then a client must not be made: it could be given the port, and talk to itself."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while f"0100007F:{port:04X} " not in Path("/proc/net/udp").read_text():
        if not process.running() or time.monotonic() > deadline:
            raise BenchError(f"{process} does not listen at port {port}")
        time.sleep(0.01)


def _popen_on_last_core(_: str, argv: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    return subprocess.Popen(["taskset", "-c", str(LAST_CORE), *argv], **options)


@contextmanager
def _on_first_core() -> Iterator[None]:
    """This process, until the block ends."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as own:
        sockets = [own.enter_context(udp_socket()) for _ in range(count)]
        return [int(sock.getsockname()[1]) for sock in sockets]
