"""One connection of the load generator: requests out, answers matched to them by sequence."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.hosts.client.wires import Part, Wire
from experiments.hosts.process import HostPort
from experiments.hosts.stream_socket import StreamSocket
from experiments.wire.stream import ProtocolError

EndCallback = Callable[[RequestRecord, Status, str | None], None]
"""Told once per request how it ended, with the symbolic errno or the protocol error, if any."""


class ClientConnection:
    """A TCP connection that carries one request, or many at once.

    It closes itself when no request is pending and none is to follow: after the last one, and also
    after a timeout, since a connection that lost an answer may be dead.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: HostPort,
        source_host: str | None,
        on_end: EndCallback,
        wire: Wire,
    ) -> None:
        """Not yet connecting: `open` does that."""
        self._loop = loop
        self._target = target
        self._source_host = source_host
        self._on_end = on_end
        self._pending: dict[int, RequestRecord] = {}
        self._wire = wire
        self._sock: socket.socket | None = None
        self._stream: StreamSocket | None = None
        self._connected_s: float | None = None
        self._local: str | None = None
        self.usable = True
        """May be given one more request."""

    def send(self, record: RequestRecord, *, last: bool) -> None:
        """Send the request, on a first call after connecting; after the `last` none follows. The
        end is told to `on_end`."""
        self._pending[record.seq] = record
        record.target = str(self._target)
        self.usable = not last
        if self._stream is not None:
            self._write(record)
        elif self._sock is None:
            self._open()

    def time_out(self, record: RequestRecord) -> None:
        """Stop waiting for this request; an answer that still comes is ignored."""
        self.usable = False
        self._finish(record, "timeout", None)
        self._close_if_idle()

    def _open(self) -> None:
        family = socket.AF_INET6 if ":" in self._target.host else socket.AF_INET
        try:
            self._sock = sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if self._source_host is not None:
                # The port is then chosen at connect, when the whole 4-tuple is known.
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self._source_host, 0))
            sock.connect(self._target)
        except BlockingIOError:
            self._loop.add_writer(sock.fileno(), self._connect_finished)
        except OSError as error:
            self._ended(error)
        else:
            self._connect_finished()

    def _connect_finished(self) -> None:
        sock = self._sock
        assert sock is not None
        self._loop.remove_writer(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._ended(OSError(code, os.strerror(code)))
            return
        self._connected_s = self._loop.time()
        host, port = sock.getsockname()[:2]
        self._local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._stream = StreamSocket(self._loop, sock, self._received, self._ended)
        for record in self._pending.values():
            self._write(record)

    def _write(self, record: RequestRecord) -> None:
        assert self._stream is not None
        record.connected_s = self._connected_s
        record.local = self._local
        self._stream.write(self._wire.request(record))

    def _received(self, data: bytes) -> None:
        now_s = self._loop.time()
        try:
            for part in self._wire.feed(data):
                self._progress(part, now_s)
        except ProtocolError as error:
            self._end_all("error", str(error))
            return
        self._close_if_idle()

    def _progress(self, part: Part, now_s: float) -> None:
        record = self._pending.get(part.sequence)
        if record is None:  # timed out meanwhile
            return
        if record.first_byte_s is None:
            record.first_byte_s = now_s
            record.backend = part.backend
            record.wait_ms = part.wait_ms
            record.service_ms = part.service_ms
        record.bytes_received += part.payload_bytes
        if part.complete:
            record.done_s = now_s
            self._finish(record, "ok" if part.served else "rejected", None)

    def _finish(self, record: RequestRecord, status: Status, reason: str | None) -> None:
        del self._pending[record.seq]
        self._on_end(record, status, reason)

    def _ended(self, error: OSError | None) -> None:
        if error is None:
            self._end_all("closed", None)
            return
        reason = errno.errorcode.get(error.errno or 0, str(error))
        if isinstance(error, ConnectionRefusedError):
            self._end_all("refused", reason)
        elif isinstance(error, ConnectionResetError | BrokenPipeError):
            self._end_all("reset", reason)
        else:
            self._end_all("error", reason)

    def _end_all(self, status: Status, reason: str | None) -> None:
        self.usable = False
        for record in list(self._pending.values()):
            self._finish(record, status, reason)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self.usable or self._pending:
            return
        if self._stream is not None:
            self._stream.close()
        elif self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
