"""The same protocol in datagrams: one request or one whole answer each. Pure bytes in and out.

An answer carries two stamps between its header and its payload: when the backend received the
request and when it sent the answer, in microseconds on CLOCK_MONOTONIC, which all hosts of one
kernel share. With them the order of sending and the order of arrival can be compared in each
direction by itself, whatever the time of service in between.
"""

import struct
from typing import NamedTuple

from experiments.wire.stream import (
    REQUEST_BYTES,
    RESPONSE_HEADER_BYTES,
    ProtocolError,
    Request,
    RequestReader,
    ResponseHeader,
    ResponseReader,
)

_STAMPS = struct.Struct("!QQ")  # received_us, answered_us
MAX_DATAGRAM_BYTES = 65_507
"""The most that UDP over IPv4 carries (RFC 768, RFC 791)."""
ANSWER_OVERHEAD_BYTES = RESPONSE_HEADER_BYTES + _STAMPS.size
MAX_RESPONSE_BYTES = MAX_DATAGRAM_BYTES - ANSWER_OVERHEAD_BYTES
"""Payload that fits into one answer."""


class DatagramAnswer(NamedTuple):
    """One answer without its payload. Stamps are seconds on CLOCK_MONOTONIC."""

    header: ResponseHeader
    received_s: float
    answered_s: float


def decode_request(datagram: bytes) -> Request:
    """The request in `datagram`. Raises ProtocolError if it is none, or asks for too much."""
    requests = RequestReader().feed(datagram)
    if len(requests) != 1 or len(datagram) != REQUEST_BYTES + requests[0].payload_bytes:
        raise ProtocolError(f"{len(datagram)} bytes are no request")
    (request,) = requests
    if request.response_bytes > MAX_RESPONSE_BYTES:
        raise ProtocolError(
            f"{request.response_bytes} bytes asked for, a datagram has room for "
            f"{MAX_RESPONSE_BYTES}"
        )
    return request


def encode_answer(header: ResponseHeader, received_s: float, answered_s: float) -> bytes:
    """The datagram, with as much payload as the header says."""
    stamps = _STAMPS.pack(round(received_s * 1e6), round(answered_s * 1e6))
    return header.encode() + stamps + bytes(header.payload_bytes)


def decode_answer(datagram: bytes) -> DatagramAnswer:
    """What `datagram` answers. Raises ProtocolError if it is no whole answer."""
    if len(datagram) < ANSWER_OVERHEAD_BYTES:
        raise ProtocolError(f"{len(datagram)} bytes are no answer")
    (part,) = ResponseReader().feed(datagram[:RESPONSE_HEADER_BYTES])
    if len(datagram) != ANSWER_OVERHEAD_BYTES + part.header.payload_bytes:
        raise ProtocolError(
            f"{len(datagram) - ANSWER_OVERHEAD_BYTES} bytes of payload, not the "
            f"{part.header.payload_bytes} of its header"
        )
    received_us, answered_us = _STAMPS.unpack_from(datagram, RESPONSE_HEADER_BYTES)
    return DatagramAnswer(part.header, received_us / 1e6, answered_us / 1e6)
