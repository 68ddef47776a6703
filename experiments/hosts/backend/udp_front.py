"""The UDP side of an emulated backend: requests, probes and health checks, a datagram each."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable

from experiments.hosts.backend.emulated_server import EmulatedServer
from experiments.hosts.backend.misdeeds import Misdeeds
from experiments.hosts.backend.traffic_count import TrafficCount
from experiments.hosts.datagram_socket import Source, read_from
from experiments.wire.datagrams import decode_request, encode_answer
from experiments.wire.stream import ProtocolError, ResponseHeader

HEALTH_QUESTION = b"health?"
HEALTH_ANSWER = b"ok"


class UdpFront:
    """Serves what arrives at one socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: EmulatedServer,
        count: TrafficCount,
        misdeeds: Misdeeds,
    ) -> None:
        """Nothing is read yet."""
        self._misdeeds = misdeeds
        self._loop = loop
        self._server = server
        self._count = count

    def serve_requests(self, sock: socket.socket) -> None:
        """Answer requests that come to `sock` when they have been served."""

        def received(datagram: bytes, source: Source) -> None:
            self._count.bytes_received += len(datagram)
            self._request(sock, datagram, source)

        read_from(self._loop, sock, received)

    def answer_probes(self, sock: socket.socket) -> None:
        """Answer `{"probe": 4711}` with the same number, requests in flight and their latency."""
        self._reply(sock, self._probe_answer)

    def answer_health(self, sock: socket.socket) -> None:
        """Answer HEALTH_QUESTION with HEALTH_ANSWER."""
        self._reply(sock, lambda asked: HEALTH_ANSWER if asked == HEALTH_QUESTION else None)

    def _reply(self, sock: socket.socket, answer: Callable[[bytes], bytes | None]) -> None:
        def received(datagram: bytes, source: Source) -> None:
            if (said := answer(datagram)) is None:
                self._count.protocol_errors += 1
            else:
                self._send(sock, said, source)

        read_from(self._loop, sock, received)

    def _probe_answer(self, asked: bytes) -> bytes | None:
        try:
            probe = json.loads(asked)["probe"]  # any whole number, not only of 64 bits
        except (ValueError, KeyError, TypeError):
            return None
        if not isinstance(probe, int):
            return None
        factor = self._misdeeds.exaggeration
        latency_ms = factor * self._server.latency_s() * 1e3
        in_flight = round(factor * self._server.in_flight)
        return json.dumps(
            {"probe": probe, "in_flight": in_flight, "latency_ms": latency_ms}
        ).encode()

    def _request(self, sock: socket.socket, datagram: bytes, source: Source) -> None:
        received_s = self._loop.time()
        try:
            request = decode_request(datagram)
        except ProtocolError as error:
            self._count.protocol_errors += 1
            print(f"datagram not understood: {error}", file=sys.stderr)
            return

        if self._misdeeds.hangs:
            return

        def answer(header: ResponseHeader) -> None:
            data = encode_answer(header, received_s, self._loop.time())
            self._count.bytes_sent += len(data)
            self._send(sock, data, source)

        self._server.serve(request, answer)

    def _send(self, sock: socket.socket, data: bytes, source: Source) -> None:
        try:
            sock.sendto(data, source)
        except (BlockingIOError, InterruptedError):
            self._count.unsent += 1
        except OSError:  # unreachable: the client's side of the network says so
            self._count.undelivered += 1
