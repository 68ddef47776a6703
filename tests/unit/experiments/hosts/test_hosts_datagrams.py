"""One request or one whole answer per datagram."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hosts.datagram_socket import buffer_errors
from experiments.wire.datagrams import (
    MAX_DATAGRAM_BYTES,
    MAX_RESPONSE_BYTES,
    decode_answer,
    decode_request,
    encode_answer,
)
from experiments.wire.stream import Answer, ProtocolError, Request, ResponseHeader


def header(payload_bytes: int) -> ResponseHeader:
    return ResponseHeader(7, Answer.SERVED, 10, 20, payload_bytes, "b1")


@given(st.integers(0, 2000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_answer_survives_the_way(size: int, received_s: float, answered_s: float) -> None:
    answer = decode_answer(encode_answer(header(size), received_s, answered_s))
    assert answer.header == header(size)
    assert answer.received_s == pytest.approx(received_s, abs=1e-6)
    assert answer.answered_s == pytest.approx(answered_s, abs=1e-6)


def test_the_largest_answer_is_the_largest_datagram() -> None:
    assert len(encode_answer(header(MAX_RESPONSE_BYTES), 0, 0)) == MAX_DATAGRAM_BYTES


def test_a_request_for_more_than_fits_is_refused() -> None:
    assert decode_request(Request(1, 2, MAX_RESPONSE_BYTES).encode()).sequence == 1
    with pytest.raises(ProtocolError, match="has room for 65431"):
        decode_request(Request(1, 2, MAX_RESPONSE_BYTES + 1).encode())


@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error(noise: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with pytest.raises(ProtocolError):
            decode(noise)


@pytest.mark.parametrize("change", [b"", b"x"])
def test_a_cut_or_padded_answer_is_refused(change: bytes) -> None:
    whole = encode_answer(header(100), 0, 0)
    with pytest.raises(ProtocolError, match="bytes of payload"):
        decode_answer(whole + change if change else whole[:-1])


def test_errors_of_buffers_out_of_the_kernels_text() -> None:
    text = (
        "Tcp: RtoAlgorithm RtoMin\nTcp: 1 200\n"
        "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors\n"
        "Udp: 10 1 5 9 3 2 0\nUdpLite: InDatagrams\nUdpLite: 0\n"
    )
    assert buffer_errors(text) == 5
