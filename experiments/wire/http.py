"""HTTP/1.1 between load generator and real servers: `GET /<bytes>`, answers in order. Pure.

A subset of RFC 9112: answers need a Content-Length, and the status 200. The answer's `X-Backend`
names the server where it says so.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from experiments.wire.stream import ProtocolError

CLIENT_HEADER, SEQUENCE_HEADER = "X-Client", "X-Seq"
"""Of a request: for the server's own log."""
BACKEND_HEADER = "X-Backend"
MAX_HEAD_BYTES = 16_384
_END = b"\r\n\r\n"


class HttpPart(NamedTuple):
    """Progress of one answer: the payload that came now, whether it is whole."""

    sequence: int
    backend: str | None
    payload_bytes: int
    complete: bool


def encode_request(host: str, client: str, sequence: int, response_bytes: int) -> bytes:
    """`host` as in the Host header."""
    return (
        f"GET /{response_bytes} HTTP/1.1\r\nHost: {host}\r\n"
        f"{CLIENT_HEADER}: {client}\r\n{SEQUENCE_HEADER}: {sequence}\r\n\r\n"
    ).encode()


class AnswerReader:
    """Cuts a connection's bytes into parts of answers, without keeping any payload."""

    def __init__(self) -> None:
        """At the start of a connection."""
        self._asked: deque[tuple[int, int]] = deque()
        self._buffer = b""
        self._missing_bytes: int | None = None
        """Of the answer to the first asked; None: its head is not there yet."""
        self._backend: str | None = None

    def expect(self, sequence: int, response_bytes: int) -> None:
        """A request was sent; answers come in the order of these."""
        self._asked.append((sequence, response_bytes))

    def feed(self, data: bytes) -> Iterator[HttpPart]:
        """What `data` brought, in order. Raises ProtocolError for what is not the answer asked."""
        data = self._buffer + data
        self._buffer = b""
        while data:
            if self._missing_bytes is None:
                head, end, rest = data.partition(_END)
                if not end:
                    if len(head) > MAX_HEAD_BYTES:
                        raise ProtocolError(f"{len(head)} bytes, and no end of the HTTP head")
                    self._buffer = data
                    return
                self._begin(head.decode("latin-1"))
                data = rest
            yield self._part(taken := min(self._missing_bytes or 0, len(data)))
            data = data[taken:]

    def _begin(self, head: str) -> None:
        status, *lines = head.split("\r\n")
        if not self._asked:
            raise ProtocolError(f"an answer to nothing: {status!r}")
        version, _, said = status.partition(" ")
        if not version.startswith("HTTP/1.") or said[:4] not in ("200", "200 "):
            raise ProtocolError(f"expected HTTP status 200, got {status!r}")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length, asked = headers.get("content-length", ""), self._asked[0][1]
        if not length.isdecimal():
            raise ProtocolError("an HTTP answer without Content-Length, which none of ours may be")
        if int(length) != asked:
            raise ProtocolError(f"asked for {asked} bytes, Content-Length is {length}")
        self._missing_bytes = int(length)
        self._backend = headers.get(BACKEND_HEADER.lower())

    def _part(self, taken: int) -> HttpPart:
        assert self._missing_bytes is not None
        self._missing_bytes -= taken
        complete = self._missing_bytes == 0
        sequence, _ = self._asked[0]
        if complete:
            self._asked.popleft()
            self._missing_bytes = None
        return HttpPart(sequence, self._backend, taken, complete)
