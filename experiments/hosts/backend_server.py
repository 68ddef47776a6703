"""An emulated backend: a TCP server that spends time, not CPU.

    python -m experiments.hosts.backend_server --id b1 --listen 10.0.0.11:8080 --samples b1.jsonl

Requests (experiments/hosts/protocol.py) queue first-come first-served for `--servers` parallel
servers; one that finds `--queue-limit` waiting is answered at once with a rejection. A job whose
client has left is served all the same, as a real server mostly would.

Prints `ready` on stdout when it listens. Every 100 ms one JSON line goes to `--samples`; SIGTERM or
SIGINT ends it with status 0 after a last line: `final` true, the counters, and how many connections
the kernel turned away from full listen queues (of the whole network namespace) meanwhile.
"""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import orjson

from experiments.hosts.fifo_server import FifoServer
from experiments.hosts.listener import listen, listen_drops
from experiments.hosts.precise_loop import new_precise_loop
from experiments.hosts.process import address, raise_open_files_limit, realtime_priority
from experiments.hosts.protocol import (
    Answer,
    ProtocolError,
    Request,
    RequestReader,
    ResponseHeader,
    encode_backend_id,
)
from experiments.hosts.stream_socket import StreamSocket

SCHEMA_VERSION = 1
SAMPLE_INTERVAL_S = 0.1


class BackendServer:
    """One backend: its queue and its open connections."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        backend_id: str,
        queue: FifoServer,
        samples: IO[bytes],
    ) -> None:
        """Nothing is accepted yet."""
        self._loop = loop
        self._id = backend_id
        self._queue = queue
        self._samples = samples
        self._connections: set[_Connection] = set()
        self._undelivered = 0
        self._protocol_errors = 0

    def accept_on(self, listener: socket.socket) -> None:
        """Take connections from a non-blocking listening socket."""
        self._loop.add_reader(listener, self._accept, listener)

    def sample_from(self, due_s: float) -> None:
        """Write a sample now, which was due at `due_s`, and one every 100 ms after that."""
        self._write_line(self._snapshot())
        next_due_s = max(due_s + SAMPLE_INTERVAL_S, self._loop.time())
        self._loop.call_at(next_due_s, self.sample_from, next_due_s)

    def write_final(self, dropped: int, listen_backlog: int, realtime: bool) -> None:
        """Write the last line of the samples file."""
        self._write_line(
            {
                "final": True,
                "schema_version": SCHEMA_VERSION,
                **self._snapshot(),
                "undelivered": self._undelivered,
                "protocol_errors": self._protocol_errors,
                "listen_drops": dropped,
                "listen_backlog": listen_backlog,
                "realtime": realtime,
            }
        )

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            sock.setblocking(False)
            self._connections.add(_Connection(self._loop, sock, self._serve, self._forget))

    def _serve(self, request: Request, connection: "_Connection") -> None:
        now_s = self._loop.time()
        service = self._queue.admit(now_s, request.demand_us / 1e6)
        if service is None:
            rejection = ResponseHeader(request.sequence, Answer.REJECTED, 0, 0, 0, self._id)
            self._answer(connection, rejection)
            return
        header = ResponseHeader(
            sequence=request.sequence,
            answer=Answer.SERVED,
            wait_us=round((service.start_s - now_s) * 1e6),
            service_us=round((service.finish_s - service.start_s) * 1e6),
            payload_bytes=request.response_bytes,
            backend_id=self._id,
        )
        self._loop.call_at(service.finish_s, self._answer, connection, header)

    def _answer(self, connection: "_Connection", header: ResponseHeader) -> None:
        if connection in self._connections:
            connection.stream.write(header.encode() + bytes(header.payload_bytes))
        else:
            self._undelivered += 1

    def _forget(self, connection: "_Connection", protocol_error: ProtocolError | None) -> None:
        self._connections.discard(connection)
        if protocol_error is not None:
            self._protocol_errors += 1
            print(f"{self._id}: connection closed: {protocol_error}", file=sys.stderr)

    def _snapshot(self) -> dict[str, object]:
        now_s = self._loop.time()
        return {
            "t_s": now_s,
            "backend": self._id,
            "active_connections": len(self._connections),
            **asdict(self._queue.state(now_s)),
        }

    def _write_line(self, line: dict[str, object]) -> None:
        self._samples.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


class _Connection:
    """One client's connection, until the client closes its side or breaks the protocol."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_request: "Callable[[Request, _Connection], None]",
        on_left: "Callable[[_Connection, ProtocolError | None], None]",
    ) -> None:
        self._requests = RequestReader()
        self._on_request = on_request
        self._on_left = on_left
        self.stream = StreamSocket(loop, sock, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        try:
            requests = self._requests.feed(data)
        except ProtocolError as error:
            self.stream.close()
            self._on_left(self, error)
            return
        for request in requests:
            self._on_request(request, self)

    def _ended(self, _error: OSError | None) -> None:
        self._on_left(self, None)


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
    dropped_before = listen_drops()
    # Unbuffered: a backend that is killed on purpose leaves its samples behind.
    with (
        listen(options.listen, options.backlog) as listener,
        options.samples.open("wb", buffering=0) as samples,
    ):
        server = BackendServer(loop, options.id, queue, samples)
        server.accept_on(listener)
        server.sample_from(loop.time())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, loop.stop)
        print("ready", flush=True)
        with realtime_priority() as realtime:
            loop.run_forever()
        server.write_final(listen_drops() - dropped_before, options.backlog, realtime)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="experiments.hosts.backend_server")
    parser.add_argument("--id", required=True, help="at most 32 bytes")
    parser.add_argument("--listen", required=True, type=address, metavar="ADDRESS:PORT")
    parser.add_argument("--samples", required=True, type=Path, metavar="FILE.jsonl")
    parser.add_argument("--servers", type=int, default=1, help="served in parallel (1)")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every demand (1.0)")
    parser.add_argument("--queue-limit", type=int, default=1000, help="waiting at most (1000)")
    parser.add_argument("--backlog", type=int, default=4096, help="of the listening socket (4096)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
