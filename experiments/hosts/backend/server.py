"""An emulated backend: a TCP or UDP server that spends time, not CPU.

    python -m experiments.hosts.backend.server --id b1 --listen 10.0.0.11:8080 --samples b1.jsonl

Requests (experiments/wire/stream.py, datagrams.py) queue first-come first-served for `--servers`
parallel servers; one that finds `--queue-limit` waiting is answered at once with a rejection. A job
whose client has left is served all the same, as a real server mostly would.

Beside that, where asked: `--health-port` (TCP accepts, UDP answers), `--agent-port` (agent.py),
`--probe-port` (UDP, answered with the present load), `--report-to` (load reports, pushed) and
`--control` (commands on standard input, control.py).

Prints `ready` on stdout when it listens. Every 100 ms one JSON line goes to `--samples`; SIGTERM or
SIGINT ends it with status 0 after a last line: `final` true, the counters, and how many connections
and datagrams the kernel had no room for (of the whole network namespace) meanwhile. With
`--standby` it prints `standby` when it is loaded, and listens when it is told `serve`.
"""

import argparse
import asyncio
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import orjson

from experiments.hosts.backend.agent import Agent, accept_and_close
from experiments.hosts.backend.control import Control
from experiments.hosts.backend.emulated_server import EmulatedServer
from experiments.hosts.backend.fifo_server import FifoServer
from experiments.hosts.backend.listener import listen, listen_drops
from experiments.hosts.backend.load_reporter import push_reports
from experiments.hosts.backend.misdeeds import Misdeeds
from experiments.hosts.backend.tcp_front import TcpFront
from experiments.hosts.backend.traffic_count import TrafficCount
from experiments.hosts.backend.udp_front import UdpFront
from experiments.hosts.backend.utilisation import REFERENCE_MBPS, Capacity, Reading, utilisation
from experiments.hosts.datagram_socket import bound, udp_drops
from experiments.hosts.precise_loop import new_precise_loop
from experiments.hosts.process import (
    HostPort,
    address,
    raise_open_files_limit,
    realtime_priority,
)
from experiments.wire.stream import encode_backend_id

SCHEMA_VERSION = 1
SAMPLE_INTERVAL_S = 0.1
REPORTS_KEPT = 1000
_SIDE_BACKLOG = 128


class Backend:
    """One backend: its queue, its fronts, and what it says of itself."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: argparse.Namespace, queue: FifoServer
    ) -> None:
        """Nothing listens yet."""
        self._loop = loop
        self._options = options
        self._count = TrafficCount()
        self._server = EmulatedServer(loop, options.id, queue)
        self._agent = Agent()
        self._misdeeds = misdeeds = Misdeeds()
        self._tcp = TcpFront(loop, self._server, self._count, misdeeds)
        self._udp = UdpFront(loop, self._server, self._count, misdeeds)
        self._reported = self._reading()
        self._reports: deque[tuple[float, dict[str, Any]]] = deque(maxlen=REPORTS_KEPT)
        self._drops_before = (0, 0)
        self.control = Control(
            {
                "speed": lambda factor: self._server.change_speed(float(factor)),
                "agent": self._agent.say,
                "hang": misdeeds.hang,
                "reset_after": misdeeds.reset_after,
                "lie": misdeeds.lie,
                "report_delay": misdeeds.report_delay,
            }
        )

    def open(self, sockets: ExitStack) -> None:
        """Listen wherever asked; `sockets` closes them. Raises OSError where that cannot be."""
        self._drops_before = (listen_drops(), udp_drops())
        options, host = self._options, self._options.listen.host
        if options.protocol == "udp":
            self._udp.serve_requests(sockets.enter_context(bound(options.listen)))
        else:
            self._tcp.accept_on(sockets.enter_context(listen(options.listen, options.backlog)))
        if options.health_port:
            at = HostPort(host, options.health_port)
            self._udp.answer_health(sockets.enter_context(bound(at)))
            accept_and_close(self._loop, sockets.enter_context(listen(at, _SIDE_BACKLOG)))
        if options.agent_port:
            at = HostPort(host, options.agent_port)
            self._agent.answer_on(self._loop, sockets.enter_context(listen(at, _SIDE_BACKLOG)))
        if options.probe_port:
            at = HostPort(host, options.probe_port)
            self._udp.answer_probes(sockets.enter_context(bound(at)))

    def sample_from(self, due_s: float, samples: IO[bytes]) -> None:
        """Write a sample now, which was due at `due_s`, and one every 100 ms after that."""
        _write_line(samples, self._snapshot())
        next_due_s = max(due_s + SAMPLE_INTERVAL_S, self._loop.time())
        self._loop.call_at(next_due_s, self.sample_from, next_due_s, samples)

    def report(self) -> dict[str, Any]:
        """The load report that is to be sent now: the latest, which is about the time since the one
        before and the same for all balancers; or one of `report_delay_s` ago."""
        now_s = self._loop.time()
        if not self._reports or now_s - self._reports[-1][0] > self._options.report_interval_s / 2:
            self._reports.append((now_s, self._new_report()))
        until_s = now_s - self._misdeeds.report_delay_s
        old = [report for at_s, report in self._reports if at_s <= until_s]
        told = old[-1] if old else self._reports[0][1]
        if (factor := self._misdeeds.exaggeration) == 1.0:
            return told
        return {name: value if name == "id" else value * factor for name, value in told.items()}

    def _new_report(self) -> dict[str, Any]:
        options, now = self._options, self._reading()
        capacity = Capacity(options.servers, options.queue_limit, options.capacity_mbps)
        state = self._server.state()
        busy = utilisation(self._reported, now, state.queue_length, capacity)
        self._reported = now
        return {
            "id": options.id,
            **busy,
            "in_flight": self._server.in_flight,
            "latency_ms": self._server.latency_s() * 1e3,
        }

    def write_final(self, samples: IO[bytes], realtime: bool) -> None:
        """Write the last line of the samples file."""
        listen_before, udp_before = self._drops_before
        final = {
            "final": True,
            "schema_version": SCHEMA_VERSION,
            **self._snapshot(),
            "undelivered": self._count.undelivered,
            "protocol_errors": self._count.protocol_errors,
            "listen_drops": listen_drops() - listen_before,
            "listen_backlog": self._options.backlog,
            "udp_drops": udp_drops() - udp_before + self._count.unsent,
            "realtime": realtime,
            "lateness_ms": self._server.lateness_ms(),
        }
        _write_line(samples, final)

    def _snapshot(self) -> dict[str, Any]:
        return {
            "t_s": self._loop.time(),
            "backend": self._options.id,
            "active_connections": self._tcp.open_connections,
            **asdict(self._server.state()),
        }

    def _reading(self) -> Reading:
        return Reading(
            self._loop.time(),
            self._server.work_s(),
            self._server.state().busy_time_s,
            self._count.bytes_received,
            self._count.bytes_sent,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        encode_backend_id(options.id)
        queue = FifoServer(options.servers, options.speed, options.queue_limit)
    except ValueError as error:
        parser.error(str(error))
    raise_open_files_limit()
    loop = new_precise_loop()
    backend = Backend(loop, options, queue)
    if options.standby:
        print("standby", flush=True)
        if not backend.control.wait_for_start():
            return 0
    with ExitStack() as sockets:
        backend.open(sockets)
        # Unbuffered: a backend that is killed on purpose leaves its samples behind.
        samples = sockets.enter_context(options.samples.open("wb", buffering=0))
        backend.sample_from(loop.time(), samples)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, loop.stop)
        if options.control:
            backend.control.listen(loop)
        if options.report_to is not None:
            interval_s = options.report_interval_s
            _tasks = [
                loop.create_task(push_reports(balancer, backend.report, interval_s))
                for balancer in options.report_to
            ]
        print("ready", flush=True)
        with realtime_priority() as realtime:
            loop.run_forever()
        backend.write_final(samples, realtime)
    return 0


def _write_line(samples: IO[bytes], line: dict[str, Any]) -> None:
    samples.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="experiments.hosts.backend.server")
    parser.add_argument("--id", required=True, help="at most 32 bytes")
    parser.add_argument("--listen", required=True, type=address, metavar="ADDRESS:PORT")
    parser.add_argument("--protocol", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--samples", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--servers", type=int, default=1, help="served in parallel (1)")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every demand (1.0)")
    parser.add_argument("--queue-limit", type=int, default=1000, help="waiting at most (1000)")
    parser.add_argument("--backlog", type=int, default=4096, help="of the listening socket (4096)")
    parser.add_argument("--health-port", type=int, help="answers health checks, TCP and UDP")
    parser.add_argument("--agent-port", type=int, help="answers as an agent, TCP")
    parser.add_argument("--probe-port", type=int, help="answers probes, UDP")
    parser.add_argument(
        "--report-to", type=address, nargs="+", metavar="ADDRESS:PORT", help="load reports"
    )
    parser.add_argument("--report-interval-s", type=float, default=0.5, help="(0.5)")
    parser.add_argument(
        "--capacity-mbps", type=float, default=REFERENCE_MBPS, help="of the link, for reports"
    )
    parser.add_argument("--control", action="store_true", help="commands on standard input")
    parser.add_argument("--standby", action="store_true", help="listen when told `serve`")
    return parser


if __name__ == "__main__":
    sys.exit(main())
