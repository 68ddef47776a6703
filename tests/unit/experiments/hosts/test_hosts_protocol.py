"""Headers survive the trip however the stream is cut; anything else is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.wire.stream import (
    REQUEST_BYTES,
    RESPONSE_HEADER_BYTES,
    Answer,
    ProtocolError,
    Request,
    RequestReader,
    ResponseHeader,
    ResponseReader,
    encode_backend_id,
)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
REQUESTS = st.builds(Request, U64, U32, U32, st.integers(0, 300))
BACKEND_IDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
RESPONSES = st.builds(
    ResponseHeader, U64, st.sampled_from(Answer), U32, U32, st.integers(0, 300), BACKEND_IDS
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes and a rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(st.lists(REQUESTS, max_size=5), st.lists(st.integers(0, 40)))
def test_requests_arrive_whole(requests: list[Request], sizes: list[int]) -> None:
    stream = b"".join(request.encode() for request in requests)
    payload_bytes = sum(request.payload_bytes for request in requests)
    assert len(stream) == REQUEST_BYTES * len(requests) + payload_bytes
    reader = RequestReader()
    assert [r for piece in cut(stream, sizes) for r in reader.feed(piece)] == requests


@given(st.lists(RESPONSES, max_size=5), st.lists(st.integers(0, 200)))
def test_responses_arrive_whole(headers: list[ResponseHeader], sizes: list[int]) -> None:
    stream = b"".join(header.encode() + b"x" * header.payload_bytes for header in headers)
    reader = ResponseReader()
    parts = [part for piece in cut(stream, sizes) for part in reader.feed(piece)]
    assert [part.header for part in parts if part.complete] == headers
    assert sum(part.payload_bytes for part in parts) == sum(h.payload_bytes for h in headers)


def test_the_first_part_comes_with_the_header_before_any_payload() -> None:
    header = ResponseHeader(1, Answer.SERVED, 2, 3, 10, "b1")
    reader = ResponseReader()
    assert list(reader.feed(header.encode())) == [(header, 0, False)]
    assert list(reader.feed(b"x" * 4)) == [(header, 4, False)]
    assert list(reader.feed(b"x" * 6)) == [(header, 6, True)]


@pytest.mark.parametrize(("position", "message"), [(0, "bad magic"), (4, "protocol version")])
def test_foreign_bytes_are_an_error(position: int, message: str) -> None:
    def spoil(header: bytes) -> bytes:
        return header[:position] + b"\xff" + header[position + 1 :]

    with pytest.raises(ProtocolError, match=message):
        RequestReader().feed(spoil(Request(1, 2, 3).encode()))
    with pytest.raises(ProtocolError, match=message):
        list(ResponseReader().feed(spoil(ResponseHeader(1, Answer.SERVED, 0, 0, 0, "b").encode())))


def test_an_unknown_answer_is_an_error() -> None:
    header = bytearray(ResponseHeader(1, Answer.SERVED, 0, 0, 0, "b").encode())
    header[5] = 99
    with pytest.raises(ProtocolError, match="bad response header"):
        list(ResponseReader().feed(bytes(header)))


@pytest.mark.parametrize("backend_id", ["", "b" * 33, "a\0b"])
def test_ids_that_cannot_travel_are_refused(backend_id: str) -> None:
    with pytest.raises(ValueError, match="backend id"):
        encode_backend_id(backend_id)


def test_header_sizes_are_as_documented() -> None:
    assert (REQUEST_BYTES, RESPONSE_HEADER_BYTES) == (28, 60)
