"""The UDP benchmark's two balancers: one worker each, both workloads on a port of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from experiments.bench.systems import NGINX_COMMON
from experiments.bench.udp_load import BenchError, Load, udp_socket

START_TIMEOUT_S = 10.0
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
NGINX_CONF = """
stream {{
    upstream backend {{ server 127.0.0.1:{backend}; }}
    server {{ listen 127.0.0.1:{ports[round trips]} udp; proxy_pass backend; }}
    server {{
        listen 127.0.0.1:{ports[new sessions]} udp; proxy_pass backend;
        proxy_requests 1; proxy_responses 1;
    }}
}}
"""


class Balancer(NamedTuple):
    """One that runs."""

    ports: dict[str, int]
    """By workload. `round trips`: sessions live on, all but the first datagram of a client belong
    to a known one; `new sessions`: every datagram begins one, which ends with its answer."""
    pid: int

    def cpu_s(self) -> float:
        """Its processor time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_balancers(own: ExitStack, directory: Path, load: Load) -> dict[str, Balancer]:
    """By name; on another core than this process where there are two. Raises BenchError."""
    cores = sorted(os.sched_getaffinity(0))
    started = {}
    free = iter(_free_ports(4))
    for name, command in (("nginx", _nginx), ("nginy", _nginy)):
        ports = {"round trips": next(free), "new sessions": next(free)}
        argv = command(directory, ports, load.backend_port)
        program = own.enter_context(_program(argv, directory / f"{name}.log", cores[-1]))
        started[name] = Balancer(ports, program.pid)
    os.sched_setaffinity(0, {cores[0]})
    for balancer in started.values():
        for port in balancer.ports.values():
            _await_bound(port)
    for balancer in started.values():
        load.check_new_sessions(balancer.ports["new sessions"])
    return started


def _nginx(directory: Path, ports: dict[str, int], backend_port: int) -> list[str]:
    path = directory / "nginx.conf"
    common = NGINX_COMMON.format(directory=directory, name="nginx")
    path.write_text(
        f"load_module {NGINX_MODULE};"
        + common.replace("master_process on", "master_process off")
        + NGINX_CONF.format(backend=backend_port, ports=ports)
    )
    return ["nginx", "-c", str(path), "-p", str(directory)]


def _nginy(directory: Path, ports: dict[str, int], backend_port: int) -> list[str]:
    path = directory / "nginy.yaml"
    rule = {"protocol": "udp", "targets": ["b1"]}
    settings = {
        "backends": [{"id": "b1", "address": f"127.0.0.1:{backend_port}"}],
        "rules": [
            {**rule, "clients": [f"0.0.0.0/0:{ports['round trips']}"]},
            {
                **rule,
                "clients": [f"0.0.0.0/0:{ports['new sessions']}"],
                "udp": {"requests": 1, "responses": 1},
            },
        ],
        "bind_addresses": ["127.0.0.1"],
        "timeouts": {"drain_timeout_ms": 1},
    }
    path.write_text(json.dumps(settings))
    return [sys.executable, "-m", "nginy", "run", "-c", str(path)]


@contextmanager
def _program(argv: list[str], log: Path, core: int) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        program = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
    os.sched_setaffinity(program.pid, {core})
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _await_bound(port: int) -> None:
    """Until then a client must not be made: it could be given the port, and talk to itself."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while f"0100007F:{port:04X} " not in Path("/proc/net/udp").read_text():
        if time.monotonic() > deadline:
            raise BenchError(f"no balancer at port {port}")
        time.sleep(0.01)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as own:
        sockets = [own.enter_context(udp_socket()) for _ in range(count)]
        return [int(sock.getsockname()[1]) for sock in sockets]
