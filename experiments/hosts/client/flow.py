"""One UDP flow of the load generator: a socket, requests out, answers matched by sequence."""

import asyncio
import errno
import socket

from experiments.hosts.client.connection import EndCallback
from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.hosts.datagram_socket import Source, read_from, udp_socket
from experiments.hosts.process import HostPort
from experiments.wire.datagrams import DatagramAnswer, decode_answer
from experiments.wire.stream import Answer, ProtocolError, Request

COPIES_HEARD_S = 0.5
"""For so long after an answer a second copy of it is still noticed, at least."""


class ClientFlow:
    """A UDP socket that carries one request, or many at once; nothing is sent again.

    A request without an answer at its timeout is lost, unless the answer still comes within
    another timeout: then it was late. After a timeout the flow goes on, as a real client's would.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: HostPort,
        source_host: str | None,
        on_end: EndCallback,
        *,
        timeout_s: float,
    ) -> None:
        """No socket yet: `send` opens it."""
        self._loop = loop
        self._target = target
        self._source_host = source_host
        self._on_end = on_end
        self._last: RequestRecord | None = None
        """After which none follows."""
        self._timeout_s = timeout_s
        self._records: dict[int, RequestRecord] = {}
        self._pending: set[int] = set()
        self._sock: socket.socket | None = None
        self._opened_s: float | None = None
        self._local: str | None = None
        self.usable = True
        """May be given one more request."""

    def send(self, record: RequestRecord, *, last: bool) -> None:
        """Send the request; after the `last` none follows. The end is told to `on_end`."""
        self._records[record.seq] = record
        self._pending.add(record.seq)
        record.target = str(self._target)
        self.usable = not last
        self._last = record if last else None
        try:
            if self._sock is None:
                self._sock = self._open()
            record.connected_s, record.local = self._opened_s, self._local
            self._write(self._sock, record)
        except OSError as error:
            self._finish(record, "error", errno.errorcode.get(error.errno or 0, str(error)))

    def time_out(self, record: RequestRecord) -> None:
        """Stop waiting for this request; an answer that still comes is noted as late."""
        self._finish(record, "timeout", None)

    def _open(self) -> socket.socket:
        sock = udp_socket(socket.AF_INET6 if ":" in self._target.host else socket.AF_INET)
        try:
            if self._source_host is not None:
                sock.bind((self._source_host, 0))
            sock.connect(self._target)
        except OSError:
            sock.close()
            raise
        self._opened_s = self._loop.time()
        host, port = sock.getsockname()[:2]
        self._local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        read_from(self._loop, sock, self._received, self._refused)
        return sock

    def _write(self, sock: socket.socket, record: RequestRecord) -> None:
        demand_us = round((record.demand_ms or 0.0) * 1000)
        request = Request(record.seq, demand_us, record.response_bytes, record.request_bytes)
        try:
            sock.send(request.encode())
        except ConnectionRefusedError as error:
            # That is what ICMP said about an earlier datagram; this one was not sent.
            self._refused(error)
            sock.send(request.encode())

    def _received(self, datagram: bytes, _source: Source) -> None:
        now_s = self._loop.time()
        try:
            answer = decode_answer(datagram)
        except ProtocolError as error:
            self._end_if_alone("error", str(error))
            return
        record = self._records.get(answer.header.sequence)
        if record is None:
            return
        if record.seq in self._pending:
            self._answered(record, answer, now_s)
        elif record.copies:
            record.copies += 1
        elif record.status == "timeout" and now_s <= self._late_until_s(record):
            _note(record, answer)
            record.late_s = now_s

    def _answered(self, record: RequestRecord, answer: DatagramAnswer, now_s: float) -> None:
        _note(record, answer)
        record.first_byte_s = record.done_s = now_s
        record.wait_ms = answer.header.wait_us / 1000
        record.service_ms = answer.header.service_us / 1000
        record.bytes_received = answer.header.payload_bytes
        served = answer.header.answer == Answer.SERVED
        self._finish(record, "ok" if served else "rejected", None)

    def _finish(self, record: RequestRecord, status: Status, reason: str | None) -> None:
        self._pending.discard(record.seq)
        self._on_end(record, status, reason)
        if self._last is not None and not self._pending:
            last_s = self._late_until_s(record) if status == "timeout" else self._loop.time()
            self._loop.call_at(last_s + COPIES_HEARD_S, self._close)

    def _late_until_s(self, record: RequestRecord) -> float:
        return record.intended_s + 2 * self._timeout_s

    def _refused(self, error: OSError) -> None:
        self._end_if_alone("refused", errno.errorcode.get(error.errno or 0, str(error)))

    def _end_if_alone(self, status: Status, reason: str) -> None:
        """What cannot be told apart among several requests is left to their timeouts."""
        if len(self._pending) == 1:
            (seq,) = self._pending
            self._finish(self._records[seq], status, reason)

    def _close(self) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None


def _note(record: RequestRecord, answer: DatagramAnswer) -> None:
    record.copies = 1
    record.backend = answer.header.backend_id
    record.received_s = answer.received_s
    record.answered_s = answer.answered_s
