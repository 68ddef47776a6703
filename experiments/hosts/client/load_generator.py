"""The load generator: sends what its plan says, when it says so.

    python -m experiments.hosts.client.load_generator --client c1 --plan FILE --target IP:PORT ...

An open loop, so a slow system gets no mercy: requests are sent at their intended times (worked out
from the seed: experiments/plan/workload/plan.py) whether earlier ones were answered or not, and
latency is to be counted from the intended time. Only what the plan has wait for an answer (users of
a closed loop) does so; its intended time is then the end of the request before and the time of
thinking.

Which requests share a connection is the plan's, so it does not depend on the system under test
either; a lost connection is opened anew for the next request. With `--protocol udp` a connection is
a flow, a socket of its own. Every request ends at the latest `--timeout-ms` after its intended
time; over UDP, answers that come later are noted.

Prints `ready` on stdout when the plan is read; starts at `--start-at` (CLOCK_MONOTONIC seconds).
Nothing is written while requests are in flight, but with `--live` (a run to look at, no evidence):
four times a second what has ended since, and how much is in flight. Exit status 1: it was not ready
at the start, or its own numbers do not add up. SIGTERM and SIGINT end the run early, with all its
files.
"""

import argparse
import asyncio
import gc
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from experiments.hosts.client.connection import ClientConnection
from experiments.hosts.client.flow import COPIES_HEARD_S, ClientFlow
from experiments.hosts.client.planned import Planned, read_plan
from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.hosts.client.summary import InFlightSample, conservation, summarise
from experiments.hosts.client.wires import WIRES
from experiments.hosts.datagram_socket import udp_drops
from experiments.hosts.precise_loop import new_precise_loop
from experiments.hosts.process import address, raise_open_files_limit, realtime_priority
from experiments.plan.workload.streams import choices
from experiments.wire.datagrams import MAX_RESPONSE_BYTES

SAMPLE_INTERVAL_S = 0.1
LIVE_INTERVAL_S = 0.25


class LoadGenerator:
    """One client's run: what is to be sent, what is in flight, what came of it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: argparse.Namespace, plan: Planned
    ) -> None:
        """Nothing is scheduled yet."""
        self._loop = loop
        self._options = options
        self._plan = plan
        self._next = 0
        """Place in `plan.timed`."""
        self._choices = choices(options.seed, options.index, len(options.target))
        self._end_s = 0.0
        self._connections: dict[int, ClientConnection | ClientFlow] = {}
        self._timeouts: dict[int, asyncio.TimerHandle] = {}  # of the requests in flight
        self._thinking = 0
        """Users that will ask again."""
        self._listen_until_s = 0.0  # for late answers and second copies, over UDP
        self.records: list[RequestRecord] = []
        self.samples: list[InFlightSample] = []
        self._live: BinaryIO | None = options.live and options.live.open("wb", buffering=0)
        self._ended_since: list[RequestRecord] = []
        self.reasons: Counter[str] = Counter()
        """Why requests failed, in the operating system's words."""

    def start(self, start_s: float) -> None:
        """Schedule the whole run; it stops the loop when the last request has ended."""
        self._end_s = start_s + self._options.duration_s
        self._loop.call_at(start_s, self._sample_from, start_s)
        self._loop.call_at(start_s, self._launch_due, start_s)
        if self._live is not None:
            self._loop.call_at(start_s, self._tell, start_s, self._live)
        self._loop.call_at(self._end_s, self._stop_if_done)

    def _launch_due(self, start_s: float) -> None:
        timed, arrivals_s = self._plan.timed, self._plan.arrivals_s
        while self._next < len(timed):
            seq = timed[self._next]
            intended_s = start_s + arrivals_s[seq]
            if intended_s > self._loop.time():
                self._loop.call_at(intended_s, self._launch_due, start_s)
                return
            self._next += 1
            self._launch(seq, intended_s)

    def _launch(self, seq: int, intended_s: float) -> None:
        options, plan = self._options, self._plan
        record = RequestRecord(
            options.client,
            seq,
            intended_s,
            plan.demands_us[seq] / 1000 if options.wire == "own" else None,
            plan.response_bytes[seq],
            plan.request_bytes[seq],
            plan.connections[seq],
            plan.users[seq],
        )
        if options.protocol == "udp":
            record.protocol, record.copies = "udp", 0
        self.records.append(record)
        connection = self._connection_for(record.connection)
        deadline_s = intended_s + options.timeout_ms / 1000
        self._timeouts[seq] = self._loop.call_at(deadline_s, connection.time_out, record)
        record.sent_s = self._loop.time()
        last = plan.last_of[record.connection] == seq
        if last:
            del self._connections[record.connection]
        connection.send(record, last=last)

    def _connection_for(self, number: int) -> ClientConnection | ClientFlow:
        connection = self._connections.get(number)
        if connection is None or not connection.usable:
            connection = self._connections[number] = self._new_connection()
        return connection

    def _new_connection(self) -> ClientConnection | ClientFlow:
        options, loop = self._options, self._loop
        target = options.target[next(self._choices)]
        if options.protocol == "tcp":
            wire = WIRES[options.wire](target)
            return ClientConnection(loop, target, options.source, self._ended, wire)
        timeout_s = options.timeout_ms / 1000
        return ClientFlow(loop, target, options.source, self._ended, timeout_s=timeout_s)

    def _ended(self, record: RequestRecord, status: Status, reason: str | None) -> None:
        record.status = status
        record.ended_s = self._loop.time()
        if self._live is not None:
            self._ended_since.append(record)
        self._timeouts.pop(record.seq).cancel()
        if reason is not None:
            self.reasons[reason] += 1
        if record.protocol == "udp":
            late_s = record.intended_s + 2 * self._options.timeout_ms / 1000
            heard_s = late_s if status == "timeout" else record.ended_s + COPIES_HEARD_S
            self._listen_until_s = max(self._listen_until_s, heard_s)
        self._ask_again(record.seq, record.ended_s)
        self._stop_if_done()

    def _ask_again(self, seq: int, ended_s: float) -> None:
        """The user, if one waits for this request, thinks and sends the next."""
        if (following := self._plan.following.get(seq)) is None:
            return
        intended_s = ended_s + self._plan.think_s[following]
        if intended_s < self._end_s:
            self._thinking += 1
            self._loop.call_at(intended_s, self._launch_thought, following, intended_s)

    def _launch_thought(self, seq: int, intended_s: float) -> None:
        self._thinking -= 1
        self._launch(seq, intended_s)

    def _sample_from(self, due_s: float) -> None:
        now_s = self._loop.time()
        self.samples.append(InFlightSample(now_s, self._options.client, len(self._timeouts)))
        next_due_s = max(due_s + SAMPLE_INTERVAL_S, now_s)
        self._loop.call_at(next_due_s, self._sample_from, next_due_s)

    def _tell(self, due_s: float, live: BinaryIO) -> None:
        now_s = self._loop.time()
        in_flight = InFlightSample(now_s, self._options.client, len(self._timeouts))
        rows = (*self._ended_since, in_flight)
        live.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
        self._ended_since.clear()
        next_due_s = max(due_s + LIVE_INTERVAL_S, now_s)
        self._loop.call_at(next_due_s, self._tell, next_due_s, live)

    def _stop_if_done(self) -> None:
        over = self._next == len(self._plan.timed) and not self._thinking
        if over and not self._timeouts and self._loop.time() >= self._end_s:
            self._loop.call_at(self._listen_until_s, self._loop.stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Send the whole workload and write what came of it; the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        plan = read_plan(options.plan, options.client)
        _check_sizes(plan, options.protocol)
    except (OSError, ValueError) as error:
        parser.error(f"--plan {options.plan}: it cannot be read: {error}")
    raise_open_files_limit()
    drops_before = udp_drops()
    loop = new_precise_loop()
    generator = LoadGenerator(loop, options, plan)
    start_s: float = options.start_at if options.start_at is not None else loop.time() + 0.1
    print("ready", flush=True)
    if loop.time() > start_s:
        late_s = loop.time() - start_s
        print(f"{options.client}: not ready until {late_s:.3f} s after --start-at", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, loop.stop)
    generator.start(start_s)
    # A collection of all objects takes longer than the lateness that is allowed.
    gc.disable()
    with realtime_priority() as realtime:
        loop.run_forever()
    own = {"realtime": realtime, "udp_drops": udp_drops() - drops_before}
    return _write_results(generator, options, (start_s, loop.time()), own)


def _check_sizes(plan: Planned, protocol: str) -> None:
    most = max((*plan.response_bytes, *plan.request_bytes), default=0)
    if protocol == "udp" and most > MAX_RESPONSE_BYTES:
        raise ValueError(
            f"{most} bytes do not fit into one datagram; at most {MAX_RESPONSE_BYTES} do"
        )


def _write_results(
    generator: LoadGenerator,
    options: argparse.Namespace,
    window_s: tuple[float, float],
    own: Mapping[str, object],
) -> int:
    """`own`: what this process says of itself."""
    summary = summarise(options.client, generator.records, generator.reasons, window_s)
    summary |= own
    _write_lines(options.requests, generator.records)
    _write_lines(options.samples, generator.samples)
    options.summary.write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
    problems = conservation([summary])
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _write_lines(path: Path, rows: Iterable[object]) -> None:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="experiments.hosts.client.load_generator")
    parser.add_argument("--client", required=True, help="name in the records, like c1")
    parser.add_argument(
        "--index", required=True, type=int, help="of the client's choice among targets"
    )
    parser.add_argument(
        "--target",
        required=True,
        nargs="+",
        type=address,
        metavar="ADDRESS:PORT",
        help="of several, each connection goes to one at random, by the seed",
    )
    parser.add_argument("--source", metavar="ADDRESS", help="own address (the kernel's choice)")
    parser.add_argument("--plan", required=True, type=Path, metavar="FILE.parquet")
    parser.add_argument("--seed", type=int, default=0, help="of the choice among targets (0)")
    parser.add_argument("--duration-s", required=True, type=float, help="of the arrivals")
    parser.add_argument("--start-at", type=float, help="CLOCK_MONOTONIC seconds (in 100 ms)")
    parser.add_argument("--protocol", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--wire", choices=WIRES, default="own", help="what TCP carries (own)")
    parser.add_argument("--timeout-ms", type=float, default=5000.0, help="from the intended time")
    parser.add_argument("--requests", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--samples", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--summary", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--live", type=Path, metavar="FILE.jsonl", help="while requests are sent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
