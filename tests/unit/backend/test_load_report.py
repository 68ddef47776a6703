"""Load reports and probe answers: what is taken, and what is refused with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.backend.load import (
    InvalidReport,
    LoadReport,
    canonical_host,
    parse_probe_answer,
    parse_report,
    probe_request,
)

PLAIN = b'{"cpu": 12.5, "mem": 40, "net": 3, "io": 0.5}'


def changed(**changes: object) -> bytes:
    return json.dumps(json.loads(PLAIN) | changes).encode()


def test_the_original_projects_line() -> None:
    assert parse_report(PLAIN) == (None, LoadReport(12.5, 40.0, 3.0, 0.5))


def test_everything_optional() -> None:
    backend_id, report = parse_report(changed(id="b1", in_flight=3, latency_ms=250, other="x"))
    assert backend_id == "b1"
    assert (report.in_flight, report.latency_s) == (3, 0.25)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "not JSON"),
        (b"GET / HTTP/1.1", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'{"cpu": 1, "mem": 2, "net": 3}', "io is missing"),
        (changed(cpu=None), "cpu is missing"),
        (changed(cpu="12"), "cpu is '12', not a number"),
        (changed(cpu=True), "cpu is True, not a number"),
        (changed(mem=-0.1), "mem is -0.1, not from 0 to 100"),
        (changed(net=100.5), "net is 100.5, not from 0 to 100"),
        (PLAIN.replace(b"0.5", b"NaN"), "not JSON"),
        (PLAIN.replace(b"0.5", b"Infinity"), "not JSON"),
        (PLAIN.replace(b"0.5", b"1e999"), "io is inf|not JSON"),
        (changed(id=7), "id is 7, not a text"),
        (changed(in_flight=-1), "in_flight is -1, not from 0"),
        (changed(in_flight=1.5), "in_flight is 1.5, not a whole number"),
        (changed(latency_ms=1e10), "latency_ms is 10000000000.0, not from 0 to 1e"),
    ],
)
def test_what_is_wrong_is_said(line: bytes, message: str) -> None:
    with pytest.raises(InvalidReport, match=message):
        parse_report(line)


@given(line=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(line: bytes) -> None:
    for parse in (parse_report, parse_probe_answer):
        try:
            parse(line)
        except InvalidReport:
            continue


values = st.none() | st.booleans() | st.integers(-1, 101) | st.floats(-1, 101) | st.just("x")


@given(values=st.tuples(*[values] * 5))
def test_what_is_taken_is_within_bounds(values: tuple[object, ...]) -> None:
    data = dict(zip(("cpu", "mem", "net", "io", "in_flight"), values, strict=True))
    try:
        _, report = parse_report(json.dumps(data).encode())
    except InvalidReport:
        return
    for percent in (report.cpu_pct, report.mem_pct, report.net_pct, report.io_pct):
        assert 0 <= percent <= 100
    assert report.in_flight is None or report.in_flight >= 0


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_plain_host(told: str, plain: str) -> None:
    assert canonical_host(told) == plain


def test_probes() -> None:
    assert json.loads(probe_request(4711)) == {"probe": 4711}
    answer = parse_probe_answer(b'{"probe": 4711, "in_flight": 3, "latency_ms": 1.25}')
    assert answer == (4711, 3, 0.00125)


@pytest.mark.parametrize(
    "datagram",
    [
        b'{"probe": 1}',
        b'{"probe": 1.5, "in_flight": 3, "latency_ms": 1}',
        b'{"probe": "1", "in_flight": 3, "latency_ms": 1}',
        b'{"probe": 1, "in_flight": 3, "latency_ms": -1}',
        b'{"probe": 1, "in_flight": 3, "latency_ms": 1}' + b" " * 1024,
    ],
)
def test_bad_answers(datagram: bytes) -> None:
    with pytest.raises(InvalidReport):
        parse_probe_answer(datagram)
