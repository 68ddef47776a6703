"""Every way in which a request can fail is told apart, and none is lost."""

import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.scenario.loopback_testbed import DEADLINE_S, LoopbackTestbed, Traffic, free_port

Behaviour = Callable[[socket.socket], None]


@contextmanager
def misbehaving_server(behaviour: Behaviour) -> Iterator[str]:
    """Accepts, does `behaviour` to each connection, keeps it until the end; yields the address."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:

        def serve() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:  # shut down
                    return
                kept.append(sock)
                with suppress(ConnectionError):
                    behaviour(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for sock in kept:
                sock.close()


def say_nothing(_sock: socket.socket) -> None:
    pass


def finish(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)  # close() with a request unread would be a reset


def reset(sock: socket.socket) -> None:
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def talk_http(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nServer: something else\r\n\r\n")


def assert_all(traffic: Traffic, status: str) -> None:
    offered = len(traffic.requests)
    assert offered > 20
    assert {request["status"] for request in traffic.requests} == {status}
    assert traffic.summary["failed"] == {status: offered}
    assert (traffic.summary["offered"], traffic.summary["completed"]) == (offered, 0)
    assert traffic.exit_status == 0
    for request in traffic.requests:
        assert request["done_s"] is None
        assert request["ended_s"] >= request["sent_s"] >= request["intended_s"]


@pytest.mark.parametrize("mode", ["per_request", "persistent"])
@pytest.mark.parametrize(
    ("behaviour", "status"),
    [(say_nothing, "timeout"), (finish, "closed"), (reset, "reset"), (talk_http, "error")],
)
def test_failures_of_an_established_connection(
    tmp_path: Path, behaviour: Behaviour, status: str, mode: str
) -> None:
    with LoopbackTestbed(tmp_path) as testbed, misbehaving_server(behaviour) as target:
        traffic = testbed.send(target, mode=mode, duration_s=0.5, timeout_ms=300)
    assert_all(traffic, status)
    assert all(request["connected_s"] is not None for request in traffic.requests)


def test_refused(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        traffic = testbed.send(f"127.0.0.1:{free_port()}", duration_s=0.5)
    assert_all(traffic, "refused")
    assert traffic.summary["reasons"] == {"ECONNREFUSED": len(traffic.requests)}
    assert all(request["connected_s"] is None for request in traffic.requests)


def test_a_handshake_that_never_ends_times_out(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, socket.create_server(("127.0.0.1", 0)) as full:
        full.listen(0)  # nobody accepts: room for one connection, further SYNs are dropped
        port = full.getsockname()[1]
        traffic = testbed.send(f"127.0.0.1:{port}", duration_s=0.5, timeout_ms=300)
    assert_all(traffic, "timeout")
    assert sum(request["connected_s"] is None for request in traffic.requests) > 20


def test_a_timeout_counts_from_the_intended_time(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, misbehaving_server(say_nothing) as target:
        traffic = testbed.send(target, duration_s=0.5, timeout_ms=200)
    for request in traffic.requests:
        assert request["ended_s"] - request["intended_s"] >= 0.2


def test_full_queues_reject_and_nothing_is_lost(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1", servers=2, queue_limit=1)
        traffic = testbed.send(backend.address, rate=400, mean_demand_ms=20, seed=5)
        final = backend.stop()[-1]
    rejected = traffic.summary["failed"]["rejected"]
    assert traffic.summary["failed"] == {"rejected": rejected}
    assert rejected > 20
    assert final["arrived"] == traffic.summary["offered"]
    assert final["rejected"] == rejected
    assert final["completed"] == traffic.summary["completed"] > 20
    for request in traffic.requests:
        if request["status"] == "rejected":
            assert request["done_s"] is not None
            assert (request["bytes_received"], request["backend"]) == (0, "b1")


def test_a_persistent_connection_is_opened_again_after_it_was_lost(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, misbehaving_server(finish) as target:
        traffic = testbed.send(target, mode="persistent", connections=2, duration_s=0.5)
    assert_all(traffic, "closed")
    assert len({request["local"] for request in traffic.requests}) > 2


def test_an_interrupted_run_leaves_all_its_files(tmp_path: Path) -> None:
    sending = threading.Event()
    with (
        LoopbackTestbed(tmp_path) as testbed,
        misbehaving_server(lambda _: sending.set()) as target,
    ):
        testbed.start_generator("c1", target, duration_s=30)
        assert sending.wait(DEADLINE_S), "no request came"
        testbed.signal("c1", signal.SIGTERM)
        traffic = testbed.finish("c1")
    assert traffic.exit_status == 0
    assert traffic.summary["in_flight"] == traffic.summary["offered"] > 0
    for request in traffic.requests:
        assert (request["status"], request["ended_s"]) == ("in_flight", None)


def test_a_generator_that_is_not_ready_in_time_refuses_to_send(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed, misbehaving_server(say_nothing) as target:
        traffic = testbed.send(target, start_at=time.monotonic())
    assert traffic.exit_status == 1
    assert traffic.requests == []


def test_a_client_that_speaks_something_else_is_sent_away(tmp_path: Path) -> None:
    with LoopbackTestbed(tmp_path) as testbed:
        backend = testbed.backend("b1")
        host, _, port = backend.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: b1\r\n\r\n")
            assert sock.recv(1000) == b""
        final = backend.stop()[-1]
    assert (final["protocol_errors"], final["arrived"]) == (1, 0)
