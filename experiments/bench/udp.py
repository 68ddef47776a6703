"""`python -m experiments.bench.udp`: UDP round trips through nginy beside nginx's stream module.

All on loopback: one process is the clients and the backend (an echo), on one core; the two
balancers, one worker each, on another, idle but for the one being measured. Both are measured in
every round, in alternating order. The clients keep a fixed number of datagrams under way, so the
balancer is what is waited for. Exit codes: 0 floor reached, 1 not reached, 2 could not run.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click

from experiments.bench.systems import NGINX_COMMON

FLOOR = 0.5
"""nginy's round trips per second over nginx's, median of the rounds."""
FLOOR_MISSED = 1
CANNOT_RUN = 2
STALLED_S = 0.05
"""Without a datagram for so long, those under way count as lost and are sent again."""
START_TIMEOUT_S = 10.0
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
NGINX_CONF = """
stream {{
    upstream backend {{ server 127.0.0.1:{backend}; }}
    server {{ listen 127.0.0.1:{port} udp; proxy_pass backend; }}
}}
"""


class BenchError(Exception):
    """A balancer does not answer."""


class Sample(NamedTuple):
    """What one balancer did in one round."""

    round_trips_per_s: float
    cpu_us: float
    """Its processor time per round trip."""


class Load:
    """The clients and the backend."""

    def __init__(self, own: ExitStack, clients: int, window: int, size: int) -> None:
        """`window` datagrams of `size` bytes under way, spread over `clients` sockets."""
        self.backend = own.enter_context(_udp_socket())
        self._own = own
        self._clients = clients
        self._each = max(1, window // clients)
        self._payload = bytes(size)
        self._buffer = bytearray(65_536)
        self._view = memoryview(self._buffer)

    @property
    def backend_port(self) -> int:
        """Where the echo is."""
        return int(self.backend.getsockname()[1])

    def run(self, port: int, seconds: float) -> int:
        """Round trips through the balancer at `port`. Raises BenchError if there are none."""
        with ExitStack() as own:
            sockets = [own.enter_context(_udp_socket()) for _ in range(self._clients)]
            for sock in sockets:
                sock.connect(("127.0.0.1", port))
            self._fill(sockets)
            count, counted_at = 0, 0
            moved_at = time.monotonic()
            end = moved_at + seconds
            while (now := time.monotonic()) < end:
                self._echo()
                count += sum(map(self._turn, sockets))
                if count > counted_at:
                    counted_at, moved_at = count, now
                elif now > moved_at + STALLED_S:
                    self._fill(sockets)
                    moved_at = now
        if not count:
            raise BenchError(f"nothing came back through port {port}")
        return count

    def _fill(self, sockets: list[socket.socket]) -> None:
        for sock in sockets:
            for _ in range(self._each):
                sock.send(self._payload)

    def _turn(self, sock: socket.socket) -> int:
        """Take what came back, and send as many anew."""
        done = 0
        try:
            while sock.recv_into(self._buffer):
                sock.send(self._payload)
                done += 1
        except BlockingIOError:
            pass
        return done

    def _echo(self) -> None:
        backend, buffer, view = self.backend, self._buffer, self._view
        try:
            while True:
                size, peer = backend.recvfrom_into(buffer)
                backend.sendto(view[:size], peer)
        except BlockingIOError:
            pass


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1.5, show_default=True, type=click.FloatRange(0.1))
@click.option("--clients", default=16, show_default=True, type=click.IntRange(1))
@click.option("--window", default=64, show_default=True, type=click.IntRange(1))
@click.option(
    "--size", default=64, show_default=True, type=click.IntRange(1, 65_000), help="Bytes."
)
def main(rounds: int, seconds: float, clients: int, window: int, size: int) -> None:
    """Run, print, judge."""
    if shutil.which("nginx") is None or not NGINX_MODULE.exists():
        click.echo("bench: missing Debian packages: nginx and libnginx-mod-stream", err=True)
        sys.exit(CANNOT_RUN)
    samples: dict[str, list[Sample]] = {"nginx": [], "nginy": []}
    try:
        with ExitStack() as own:
            directory = Path(own.enter_context(tempfile.TemporaryDirectory(prefix="nginy-bench-")))
            load = Load(own, clients, window, size)
            balancers = _start(own, directory, load)
            for number in range(rounds):
                for name in sorted(samples, reverse=number % 2 == 1):
                    samples[name].append(_measure(load, *balancers[name], seconds))
    except BenchError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(CANNOT_RUN)
    sys.exit(_report(samples))


def _report(samples: dict[str, list[Sample]]) -> int:
    """Print a table; gives the exit code."""
    click.echo("system  round trips/s  balancer's CPU us per round trip")
    for name, its in samples.items():
        rate = median(sample.round_trips_per_s for sample in its)
        cpu_us = median(sample.cpu_us for sample in its)
        click.echo(f"{name}   {rate:13.0f}  {cpu_us:.1f}")
    pairs = zip(samples["nginy"], samples["nginx"], strict=True)
    ratios = [nginy.round_trips_per_s / nginx.round_trips_per_s for nginy, nginx in pairs]
    reached = median(ratios) >= FLOOR
    click.echo("nginy / nginx per round: " + " ".join(f"{ratio:.2f}" for ratio in ratios))
    click.echo(f"median {median(ratios):.2f}, floor {FLOOR}: {'reached' if reached else 'missed'}")
    return 0 if reached else FLOOR_MISSED


def _measure(load: Load, port: int, pid: int, seconds: float) -> Sample:
    cpu_s = _cpu_s(pid)
    count = load.run(port, seconds)
    return Sample(count / seconds, (_cpu_s(pid) - cpu_s) / count * 1e6)


def _start(own: ExitStack, directory: Path, load: Load) -> dict[str, tuple[int, int]]:
    """Port and process of each balancer, on another core than ours where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    nginx_port, nginy_port = _free_port(), _free_port()
    nginx_conf = directory / "nginx.conf"
    nginx_conf.write_text(
        f"load_module {NGINX_MODULE};"
        + NGINX_COMMON.format(directory=directory, name="nginx").replace(
            "master_process on", "master_process off"
        )
        + NGINX_CONF.format(backend=load.backend_port, port=nginx_port)
    )
    nginy_conf = directory / "nginy.yaml"
    rule = {"clients": [f"0.0.0.0/0:{nginy_port}"], "protocol": "udp", "targets": ["b1"]}
    backend = {"id": "b1", "address": f"127.0.0.1:{load.backend_port}"}
    nginy_conf.write_text(
        json.dumps(
            {
                "backends": [backend],
                "rules": [rule],
                "bind_addresses": ["127.0.0.1"],
                "timeouts": {"drain_timeout_ms": 1},
            }
        )
    )
    nginx_argv = ["nginx", "-c", str(nginx_conf), "-p", str(directory)]
    nginy_argv = [sys.executable, "-m", "nginy", "run", "-c", str(nginy_conf)]
    nginx = own.enter_context(_program(nginx_argv, directory / "nginx.log", cores[-1]))
    nginy = own.enter_context(_program(nginy_argv, directory / "nginy.log", cores[-1]))
    os.sched_setaffinity(0, {cores[0]})
    for port in (nginx_port, nginy_port):
        _await(load, port)
    return {"nginx": (nginx_port, nginx.pid), "nginy": (nginy_port, nginy.pid)}


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


def _await(load: Load, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            load.run(port, 0.1)
            return
        except (BenchError, ConnectionRefusedError) as error:
            if time.monotonic() > deadline:
                raise BenchError(f"no balancer at port {port}") from error


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    return sock


def _free_port() -> int:
    with _udp_socket() as sock:
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    main()
