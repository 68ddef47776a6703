"""A stall is seen by whom it befell: nobody's waiting is omitted, no connection is dropped."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from experiments.hosts.backend.listener import listen_drops
from experiments.wire.stream import Request, ResponseReader
from tests.scenario.loopback_testbed import DEADLINE_S, Backend, LoopbackTestbed

STALL_S = 0.4


@contextmanager
def stopped(backend: Backend) -> Iterator[None]:
    backend.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        backend.signal(signal.SIGCONT)


def test_a_stalled_backend_costs_those_who_meant_to_be_served_meanwhile(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", servers=50)
        testbed.start_generator("c1", backend.address, duration_s=1.5, rate=200)
        testbed.wait_ready("c1")
        time.sleep(STALL_S)  # into the run
        began_s = time.monotonic()
        with stopped(backend):
            time.sleep(STALL_S)
            ended_s = time.monotonic()
        traffic = testbed.finish("c1")
    caught = [r for r in traffic.requests if began_s < r["intended_s"] < ended_s]
    assert len(caught) > 20
    assert all(request["done_s"] > ended_s for request in caught)
    assert traffic.summary["completed"] == traffic.summary["offered"]


def test_a_stalled_generator_tells_on_itself(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", servers=50)
        testbed.start_generator("c1", backend.address, duration_s=1.5, rate=200)
        testbed.wait_ready("c1")
        time.sleep(STALL_S)
        began_s = time.monotonic()
        testbed.signal("c1", signal.SIGSTOP)
        time.sleep(STALL_S)
        ended_s = time.monotonic()
        testbed.signal("c1", signal.SIGCONT)
        traffic = testbed.finish("c1")
    caught = [r for r in traffic.requests if began_s < r["intended_s"] < ended_s]
    assert len(caught) > 20
    # Sent late, and all of the lateness is in the latency.
    assert all(r["done_s"] > r["sent_s"] > ended_s for r in caught)
    latest_ms = max((r["sent_s"] - r["intended_s"]) * 1000 for r in caught)
    assert traffic.summary["lateness_ms"]["max"] >= latest_ms


def test_connections_to_a_backend_that_does_not_accept_wait_in_its_backlog(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, ExitStack() as stack:
        backend = testbed.backend("b1", servers=1000)
        host, _, port = backend.address.partition(":")
        with stopped(backend):
            socks = [
                stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                for _ in range(500)
            ]
        for sequence, sock in enumerate(socks):
            sock.sendall(Request(sequence, demand_us=0, response_bytes=0).encode())
        for sequence, sock in enumerate(socks):
            (part,) = ResponseReader().feed(sock.recv(1000))
            assert (part.header.sequence, part.complete) == (sequence, True)


def test_a_backlog_that_is_too_small_is_found_out(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, ExitStack() as stack:
        backend = testbed.backend("b1", backlog=1)
        host, _, port = backend.address.partition(":")
        before = listen_drops()
        with stopped(backend):
            for _ in range(10):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex((host, int(port)))
            deadline_s = time.monotonic() + DEADLINE_S
            while listen_drops() == before:
                assert time.monotonic() < deadline_s
                time.sleep(0.01)
        final = backend.stop()[-1]
    assert final["listen_drops"] > 0


def test_ipv6_from_a_chosen_source_address(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", host="[::1]")
        traffic = testbed.send(backend.address, source="::1")
    assert traffic.summary["completed"] == traffic.summary["offered"] > 0
    assert traffic.requests[0]["local"].startswith("[::1]:")
