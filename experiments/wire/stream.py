"""The wire format between load generator and emulated backend. Pure bytes in and out.

A request and a response are each a fixed header and `payload_bytes` bytes of payload.
Both carry the client's sequence number, so requests may be pipelined and answered in any order.
All integers are unsigned and in network byte order.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

VERSION = 2
MAX_BACKEND_ID_BYTES = 32

# magic, version, sequence, demand_us, response_bytes, payload_bytes
_REQUEST = struct.Struct("!4sB3xQIII")
_RESPONSE = struct.Struct(f"!4sBB2xQIII{MAX_BACKEND_ID_BYTES}s")
_REQUEST_MAGIC = b"NGYq"
_RESPONSE_MAGIC = b"NGYr"
REQUEST_BYTES = _REQUEST.size
RESPONSE_HEADER_BYTES = _RESPONSE.size


class ProtocolError(Exception):
    """The bytes are not what the other side of this protocol would send."""


class Answer(IntEnum):
    """What the backend did with a request."""

    SERVED = 0
    REJECTED = 1
    """The queue was full; nothing was served and no payload follows."""


class Request(NamedTuple):
    """One request: spend `demand_us` of service (at speed 1), answer with that much payload."""

    sequence: int
    demand_us: int
    response_bytes: int
    payload_bytes: int = 0
    """That follow the header."""

    def encode(self) -> bytes:
        """Header and payload; struct.error where a field does not fit."""
        return _REQUEST.pack(_REQUEST_MAGIC, VERSION, *self) + bytes(self.payload_bytes)


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """What happened to one request: time in the queue, time in service, payload that follows."""

    sequence: int
    answer: Answer
    wait_us: int
    service_us: int
    payload_bytes: int
    backend_id: str

    def encode(self) -> bytes:
        """The header; ValueError where the id does not fit, struct.error for other fields."""
        backend_id = encode_backend_id(self.backend_id)
        numbers = (self.sequence, self.wait_us, self.service_us, self.payload_bytes)
        return _RESPONSE.pack(_RESPONSE_MAGIC, VERSION, self.answer, *numbers, backend_id)


class ResponsePart(NamedTuple):
    """Progress of one response: its header, the payload that came now, whether it is whole."""

    header: ResponseHeader
    payload_bytes: int
    complete: bool


def encode_backend_id(backend_id: str) -> bytes:
    """The id as it travels. Raises ValueError if it is empty, too long or has a NUL."""
    encoded = backend_id.encode()
    if not encoded or len(encoded) > MAX_BACKEND_ID_BYTES or b"\0" in encoded:
        raise ValueError(f"backend id must be 1 to {MAX_BACKEND_ID_BYTES} bytes: {backend_id!r}")
    return encoded


class RequestReader:
    """Cuts a byte stream into requests, without keeping any payload."""

    def __init__(self) -> None:
        """At the start of a connection."""
        self._buffer = b""
        self._request: Request | None = None
        """Whose payload is coming."""
        self._missing_bytes = 0

    def feed(self, data: bytes) -> list[Request]:
        """Requests that `data` completes. Raises ProtocolError on bytes that are no request."""
        data = self._buffer + data
        position, whole = 0, []
        while True:
            if self._request is None:
                if len(data) - position < REQUEST_BYTES:
                    break
                self._request = _decode_request(_REQUEST.unpack_from(data, position))
                self._missing_bytes = self._request.payload_bytes
                position += REQUEST_BYTES
            taken = min(self._missing_bytes, len(data) - position)
            position += taken
            self._missing_bytes -= taken
            if self._missing_bytes:
                break
            whole.append(self._request)
            self._request = None
        self._buffer = data[position:]
        return whole


class ResponseReader:
    """Cuts a byte stream into parts of responses, without keeping any payload."""

    def __init__(self) -> None:
        """At the start of a connection."""
        self._buffer = b""
        self._header: ResponseHeader | None = None
        self._missing_bytes = 0

    def feed(self, data: bytes) -> Iterator[ResponsePart]:
        """What `data` brought, in order. Raises ProtocolError on bytes that are no response."""
        position = 0
        while position < len(data):
            if self._header is None:
                position = self._read_header(data, position)
            header = self._header
            if header is None:
                return
            taken = min(self._missing_bytes, len(data) - position)
            position += taken
            self._missing_bytes -= taken
            if not self._missing_bytes:
                self._header = None
            yield ResponsePart(header, taken, not self._missing_bytes)

    def _read_header(self, data: bytes, position: int) -> int:
        end = position + RESPONSE_HEADER_BYTES - len(self._buffer)
        self._buffer += data[position:end]
        if len(self._buffer) == RESPONSE_HEADER_BYTES:
            self._header = _decode_response(self._buffer)
            self._missing_bytes = self._header.payload_bytes
            self._buffer = b""
        return end


def _decode_request(fields: tuple[bytes, int, int, int, int, int]) -> Request:
    magic, version, *numbers = fields
    _check(magic, _REQUEST_MAGIC, version)
    return Request(*numbers)


def _decode_response(header: bytes) -> ResponseHeader:
    magic, version, answer, sequence, wait_us, service_us, payload_bytes, backend = (
        _RESPONSE.unpack(header)
    )
    _check(magic, _RESPONSE_MAGIC, version)
    try:
        backend_id = backend.rstrip(b"\0").decode()
        return ResponseHeader(
            sequence, Answer(answer), wait_us, service_us, payload_bytes, backend_id
        )
    except ValueError as error:
        raise ProtocolError(f"bad response header: {error}") from None


def _check(magic: bytes, expected: bytes, version: int) -> None:
    if magic != expected:
        raise ProtocolError(f"bad magic {magic!r}, expected {expected!r}")
    if version != VERSION:
        raise ProtocolError(f"protocol version {version}, expected {VERSION}")
