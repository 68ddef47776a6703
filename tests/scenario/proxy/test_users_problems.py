"""What users of other balancers trip over: the cases that no other test shows.

The list, with the tests elsewhere that belong to it: docs/features.md, "What users trip over".
"""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.scenario.proxy.greeters import PATIENCE_S, ask, free_port, greeter

EVERYBODY = "0.0.0.0/0:PORT"


@pytest.fixture
def connect(own: ExitStack) -> Callable[[int], socket.socket]:
    def to(port: int) -> socket.socket:
        return own.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))

    return to


def exchange(client, backend, datagram: bytes) -> None:
    client.send(datagram)
    backend.answer(b"to ")
    assert client.recv(100) == b"to " + datagram


# 1: UDP flows stay glued to a backend that is gone.


@pytest.mark.parametrize("policy", ["keep", "rebind", "close"])
def test_udp_flows_of_a_removed_backend_do_as_the_policy_says(udp_proxy, udp_peer, policy):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2], live_connections={"on_removed": policy})
    client = server.client()
    exchange(client, b1, b"before")
    server.call(lambda: server.server.pool["b1"].remove(0.0))
    if policy == "close":
        assert server.record()["close_reason"] == "backend_removed"
    exchange(client, b1 if policy == "keep" else b2, b"after")


# 6: a UDP check that means something.


def test_a_udp_backend_that_falls_silent_is_found_and_its_flows_leave(
    udp_proxy, udp_peer, wait_until
):
    """Its port is open and no ICMP ever comes: only an expected answer tells that it is dead."""
    b1, b2, status, silent = udp_peer(), udp_peer(), udp_peer(), threading.Event()

    def answer_until_silent() -> None:
        while not silent.is_set():
            status.socket.sendto(b"pong", status.receive()[1])

    thread = threading.Thread(target=answer_until_silent, daemon=True)
    thread.start()
    check = {
        "type": "udp",
        "port": status.socket.getsockname()[1],
        "send": "ping",
        "expect": "pong",
    }
    pace = {"interval_s": 0.02, "timeout_s": 0.1, "fall": 3}
    server = udp_proxy([{"address": b1.address, "health_check": check | pace}, b2])
    client = server.client()
    exchange(client, b1, b"before")
    silent.set()
    thread.join()
    wait_until(lambda: not server.server.pool["b1"].healthy, "b1 to be found dead")
    exchange(client, b2, b"after")


# 7: flapping, and what happens when all are down.


def test_one_failure_takes_nobody_out(proxy, own, peer):
    """nginx leaves a backend alone for 10 s after one failure unless told otherwise."""
    refusing = peer()
    port = refusing.listener.getsockname()[1]
    refusing.refuse()
    balancer = proxy([refusing, {"address": greeter(own, "b2")}])
    assert ask(balancer.port) == "b2"
    assert balancer.record()["backends_tried"] == ["b1", "b2"]
    greeter(own, "b1", port)
    assert {ask(balancer.port) for _ in range(2)} == {"b1", "b2"}


@pytest.mark.parametrize(("policy", "served"), [("refuse", {""}), ("try_all", {"b1", "b2"})])
def test_with_everybody_down_the_rule_says_what_happens(proxy, own, wait_until, policy, served):
    check = {"interval_s": 0.02, "timeout_s": 5.0, "port": free_port()}
    balancer = proxy(
        [{"address": greeter(own, name), "health_check": check} for name in ("b1", "b2")],
        rules=[{"clients": [EVERYBODY], "targets": ["b1", "b2"], "all_down": policy}],
    )
    pool = balancer.server.pool
    wait_until(lambda: not any(backend.healthy for backend in pool.values()), "all down")
    assert {ask(balancer.port) for _ in range(4)} == served


# 10: uneven because each listener or worker balances alone.


def test_ten_connections_to_two_backends_are_five_each_over_all_listeners(
    proxy, peer, connect, wait_until
):
    backends = [peer(), peer()]
    other = free_port()
    balancer = proxy(
        backends,
        rules=[
            {
                "clients": [EVERYBODY, f"0.0.0.0/0:{other}"],
                "targets": ["b1", "b2"],
                "strategy": {"type": "least_conn"},
            }
        ],
    )
    for port in (balancer.port, other) * 5:
        connect(port)
    pool = balancer.server.pool
    wait_until(lambda: sum(backend.active for backend in pool.values()) == 10, "all ten")
    assert [backend.active for backend in pool.values()] == [5, 5]


# 13: quiet sessions are cut, or dead ones stay for ever.


def test_a_quiet_session_lives_as_long_as_its_own_rule_says(proxy, peer, connect):
    backend, other = peer(), free_port()
    balancer = proxy(
        [backend],
        timeouts={"idle_timeout_ms": 100},
        rules=[
            {"name": "short", "clients": [EVERYBODY], "targets": ["b1"]},
            {
                "name": "long",
                "clients": [f"0.0.0.0/0:{other}"],
                "targets": ["b1"],
                "timeouts": {"idle_timeout_ms": 600_000},
            },
        ],
    )
    quiet = connect(other)
    upstream = backend.accept()
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert (record["rule"], record["close_reason"]) == ("short", "idle_timeout")
    quiet.sendall(b"still here")
    assert upstream.recv(100) == b"still here"


# 15: no logs for layer 4.


def test_tcp_and_udp_leave_records_of_one_kind(proxy, own, udp_peer):
    b2 = udp_peer()
    balancer = proxy(
        [{"address": greeter(own, "b1")}, b2],
        rules=[
            {"name": "tcp", "clients": [EVERYBODY], "targets": ["b1"]},
            {"name": "udp", "clients": [EVERYBODY], "targets": ["b2"], "protocol": "udp"},
        ],
    )
    ask(balancer.port)
    exchange(balancer.client(), b2, b"question")
    balancer.call(balancer.server.udp.abort_all)
    tcp, udp = sorted(balancer.records(2), key=lambda record: record["protocol"])
    assert tcp.keys() == udp.keys()
    for record, reason in ((tcp, "completed"), (udp, "shutdown")):
        assert (record["rule"], record["close_reason"]) == (record["protocol"], reason)
        assert record["bytes_down"] > 0
        assert record["client"].startswith("127.0.0.1:")
