"""HTTP as the load generator speaks it; and what wrk says, as it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.hosts.client.request_record import RequestRecord
from experiments.hosts.client.wires import HttpWire
from experiments.hosts.client.wrk import report
from experiments.hosts.process import HostPort
from experiments.wire.http import MAX_HEAD_BYTES, AnswerReader
from experiments.wire.stream import ProtocolError


def _answer(size, *, status="200 OK", headers=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + bytes(size)


def _reader(*sizes):
    reader = AnswerReader()
    for sequence, size in enumerate(sizes):
        reader.expect(sequence, size)
    return reader


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.lists(st.integers(1, 400)))
def test_answers_are_told_apart_wherever_the_bytes_are_cut(sizes, cuts):
    data = b"".join(_answer(size, headers="x-backend: b2\r\n") for size in sizes)
    reader, parts = _reader(*sizes), []
    for cut in [*cuts, len(data)]:
        parts += reader.feed(data[:cut])
        data = data[cut:]
    whole = [part.sequence for part in parts if part.complete]
    assert whole == list(range(len(sizes)))
    got = [sum(p.payload_bytes for p in parts if p.sequence == n) for n in whole]
    assert got == sizes
    assert {part.backend for part in parts} == {"b2"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_answer(10, status="404 Not Found"), "expected HTTP status 200, got 'HTTP/1.1 404"),
        (_answer(9), "asked for 10 bytes, Content-Length is 9"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "without Content-Length"),
        (b"SSH-2.0-x\r\n\r\n", "expected HTTP status 200"),
        (b"x" * (MAX_HEAD_BYTES + 1), "no end of the HTTP head"),
        (_answer(10) + _answer(10), "an answer to nothing"),
    ],
)
def test_what_is_not_the_answer_asked_for_is_no_answer(data, said):
    with pytest.raises(ProtocolError, match=said):
        list(_reader(10).feed(data))


def test_a_request_says_in_the_servers_log_whose_it_is():
    wire = HttpWire(HostPort("10.0.0.1", 8080))
    asked = wire.request(RequestRecord("c1", 17, 0.0, None, 5)).decode()
    assert asked.startswith("GET /5 HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n")
    assert "X-Client: c1\r\nX-Seq: 17\r\n" in asked
    (part,) = wire.feed(_answer(5))
    assert (part.sequence, part.backend, part.wait_ms, part.service_ms) == (17, None, None, None)


def test_the_report_is_found_among_wrks_own_words():
    said = 'Running 4s test\n  2 threads\nreport {"requests": 12, "seconds": 4.0}\n'
    assert report(said) == {"requests": 12, "seconds": 4.0}
    assert report("unable to connect") == {}
