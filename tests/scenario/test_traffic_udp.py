"""The UDP load generator against emulated backends, and against a server that misbehaves."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from experiments.analysis.datagrams import count
from experiments.tables.schema import requests_frame
from experiments.wire.datagrams import decode_request, encode_answer
from experiments.wire.stream import Answer, Request, ResponseHeader
from tests.scenario.loopback_testbed import LoopbackTestbed, Traffic, free_port

Send = Callable[[bytes], object]


def table(traffic: Traffic) -> pd.DataFrame:
    return requests_frame(traffic.requests, traffic.requests[0]["intended_s"])


@contextmanager
def answering(answer: Callable[[Request, Send], None]) -> Iterator[str]:
    """A UDP server; `answer` is given each request and the way to send to who asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                datagram, source = sock.recvfrom(2000)
                if datagram == b"end":
                    return
                answer(decode_request(datagram), partial(_send_to, sock, source))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}"
        finally:
            sock.sendto(b"end", sock.getsockname())
            thread.join()


def _send_to(sock: socket.socket, source: tuple[str, int], data: bytes) -> None:
    sock.sendto(data, source)


def served(request: Request, sent_s: float = 0.0) -> bytes:
    return encode_answer(ResponseHeader(request.sequence, Answer.SERVED, 0, 0, 10, "x"), 0, sent_s)


@pytest.mark.parametrize("mode", ["per_request", "persistent"])
def test_every_request_is_answered_and_recorded(tmp_path: Path, mode: str) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", protocol="udp", servers=2, speed=2)
        traffic = testbed.send(
            backend.address,
            protocol="udp",
            mode=mode,
            connections=3,
            rate=200,
            response_bytes=60_000,
        )
        final = backend.stop()[-1]
    assert traffic.exit_status == 0
    offered = len(traffic.requests)
    assert offered > 0
    assert (final["arrived"], final["completed"], final["protocol_errors"]) == (offered, offered, 0)
    for request in traffic.requests:
        assert (request["protocol"], request["status"], request["backend"]) == ("udp", "ok", "b1")
        assert (request["copies"], request["late_s"]) == (1, None)
        assert request["bytes_received"] == request["response_bytes"] == 60_000
        assert request["service_ms"] == pytest.approx(request["demand_ms"] / 2, abs=0.002)
        # The backend's stamps are rounded to microseconds.
        assert request["sent_s"] - 1e-6 <= request["received_s"] <= request["answered_s"]
        assert request["answered_s"] <= request["first_byte_s"] + 1e-6
    flows = Counter(request["local"] for request in traffic.requests)
    assert len(flows) == (3 if mode == "persistent" else offered)


def test_what_is_not_answered_is_lost_and_nothing_is_sent_again(tmp_path: Path) -> None:
    seen: Counter[int] = Counter()

    def every_third_lost(request: Request, send: Send) -> None:
        seen[request.sequence] += 1
        if request.sequence % 3:
            send(served(request))

    with LoopbackTestbed(tmp_path) as testbed, answering(every_third_lost) as target:
        traffic = testbed.send(target, protocol="udp", mode="persistent", timeout_ms=150)
    counts, offered = count(table(traffic)), len(traffic.requests)
    assert set(seen.values()) == {1}
    assert counts.lost == (offered + 2) // 3 > 0
    assert (counts.late, counts.duplicates) == (0, 0)
    assert traffic.summary["failed"] == {"timeout": counts.lost}
    assert len({request["local"] for request in traffic.requests}) == 1, "the flow goes on"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["per_request", "persistent"])
def test_an_answer_after_the_timeout_is_late_and_not_lost(tmp_path: Path, mode: str) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", protocol="udp", servers=1000)
        traffic = testbed.send(
            backend.address,
            protocol="udp",
            mode=mode,
            rate=50,
            mean_demand_ms=300,
            distribution="constant",
            timeout_ms=200,
        )
    counts = count(table(traffic))
    assert counts.requests > 0
    assert (counts.late, counts.lost) == (counts.requests, 0)
    for request in traffic.requests:
        assert (request["status"], request["backend"]) == ("timeout", "b1")
        assert request["late_s"] > request["ended_s"]


@pytest.mark.slow
def test_an_answer_after_two_timeouts_is_lost(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", protocol="udp", servers=1000)
        traffic = testbed.send(
            backend.address,
            protocol="udp",
            mode="persistent",
            rate=50,
            duration_s=1,
            mean_demand_ms=500,
            distribution="constant",
            timeout_ms=100,
        )
    counts = count(table(traffic))
    assert (counts.lost, counts.late) == (counts.requests, 0)


@pytest.mark.slow
def test_second_copies_are_counted(tmp_path: Path) -> None:
    def twice(request: Request, send: Send) -> None:
        send(served(request))
        send(served(request))

    with LoopbackTestbed(tmp_path) as testbed, answering(twice) as target:
        traffic = testbed.send(target, protocol="udp", mode="per_request", rate=50)
    counts = count(table(traffic))
    assert counts.duplicates == counts.requests > 0
    assert traffic.summary["completed"] == counts.requests


@pytest.mark.slow
def test_answers_that_overtake_each_other_are_told(tmp_path: Path) -> None:
    held: list[tuple[Request, Send]] = []

    def in_pairs_backwards(request: Request, send: Send) -> None:
        held.append((request, send))
        if len(held) == 2:
            for place in (1, 0):
                late, back = held[place]
                # Stamped as if sent in order: the network turned them round.
                back(served(late, sent_s=float(late.sequence)))
            held.clear()

    with LoopbackTestbed(tmp_path) as testbed, answering(in_pairs_backwards) as target:
        traffic = testbed.send(target, protocol="udp", mode="persistent", timeout_ms=500)
    counts = count(table(traffic))
    assert counts.reordered_down == len(traffic.requests) // 2 > 0


@pytest.mark.slow
def test_a_port_where_nobody_listens_refuses(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        traffic = testbed.send(f"127.0.0.1:{free_port()}", protocol="udp", rate=50, timeout_ms=500)
    assert {request["status"] for request in traffic.requests} == {"refused"}
    assert traffic.summary["reasons"] == {"ECONNREFUSED": len(traffic.requests)}


@pytest.mark.slow
def test_noise_is_no_answer(tmp_path: Path) -> None:
    with (
        LoopbackTestbed(tmp_path) as testbed,
        answering(lambda _request, send: send(b"HTTP/1.1 200")) as target,
    ):
        traffic = testbed.send(target, protocol="udp", rate=50)
    assert {request["status"] for request in traffic.requests} == {"error"}


def test_more_than_a_datagram_holds_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        traffic = testbed.send("127.0.0.1:1", protocol="udp", response_bytes=65_432)
    assert traffic.exit_status == 2
