"""The TCP side of an emulated backend."""

import asyncio
import socket
import sys

from experiments.hosts.backend.emulated_server import EmulatedServer
from experiments.hosts.backend.misdeeds import Misdeeds
from experiments.hosts.backend.traffic_count import TrafficCount
from experiments.hosts.stream_socket import StreamSocket
from experiments.wire.stream import ProtocolError, Request, RequestReader, ResponseHeader


class TcpFront:
    """Takes connections; each may carry any number of requests, answered as they are served."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        server: EmulatedServer,
        count: TrafficCount,
        misdeeds: Misdeeds,
    ) -> None:
        """Nothing is accepted yet."""
        self._misdeeds = misdeeds
        self._loop = loop
        self._server = server
        self._count = count
        self._connections: set[_Connection] = set()

    @property
    def open_connections(self) -> int:
        """Accepted and not yet closed by the client."""
        return len(self._connections)

    def accept_on(self, listener: socket.socket) -> None:
        """Take connections from a non-blocking listening socket."""
        self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            sock.setblocking(False)
            self._connections.add(_Connection(self._loop, sock, self))

    def serve(self, request: Request, connection: "_Connection") -> None:
        """A request came on `connection`."""
        if self._misdeeds.hangs:
            return

        def answer(header: ResponseHeader) -> None:
            if connection not in self._connections:
                self._count.undelivered += 1
                return
            data = header.encode() + bytes(header.payload_bytes)
            if 0 < (most := self._misdeeds.reset_after_bytes) < len(data):
                self._reset(connection, data[:most])
                return
            self._count.bytes_sent += len(data)
            connection.stream.write(data)

        self._server.serve(request, answer)

    def _reset(self, connection: "_Connection", data: bytes) -> None:
        """Say `data`, and then break off."""
        self._count.bytes_sent += len(data)
        connection.stream.write(data)
        connection.stream.reset()
        self._connections.discard(connection)

    def received(self, size: int) -> None:
        """So many bytes came."""
        self._count.bytes_received += size

    def forget(self, connection: "_Connection", problem: ProtocolError | None) -> None:
        """`connection` has ended, for `problem` or in order."""
        self._connections.discard(connection)
        if problem is not None:
            self._count.protocol_errors += 1
            print(f"connection closed: {problem}", file=sys.stderr)


class _Connection:
    """One client's connection, until the client closes its side or breaks the protocol."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, front: TcpFront
    ) -> None:
        self._requests = RequestReader()
        self._front = front
        self.stream = StreamSocket(loop, sock, self._received, self._ended)

    def _received(self, data: bytes) -> None:
        self._front.received(len(data))
        try:
            requests = self._requests.feed(data)
        except ProtocolError as error:
            self.stream.close()
            self._front.forget(self, error)
            return
        for request in requests:
            self._front.serve(request, self)

    def _ended(self, _error: OSError | None) -> None:
        self._front.forget(self, None)
