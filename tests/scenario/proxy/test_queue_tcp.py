"""Waiting for a place while every backend is full, with real connections."""

import socket
from time import monotonic

from nginy.address import Address
from nginy.backend.wishes import Origin
from nginy.traffic.close_reason import CloseReason


def start(proxy, backends, max_waiting=10, timeout_ms=10_000, **settings):
    """Each backend takes one connection."""
    listed = [{"address": backend.address, "max_connections": 1} for backend in backends]
    rule = {
        "clients": ["0.0.0.0/0:PORT"],
        "targets": [f"b{number}" for number in range(1, len(backends) + 1)],
        "queue": {"max_waiting": max_waiting, "timeout_ms": timeout_ms},
    }
    return proxy(listed, rules=[rule], **settings)


def queue_of(balancer):
    return balancer.server.rules[0].queue


def test_a_full_backend_makes_wait_not_fail(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    first = balancer.connect()
    held = backend.accept()
    waiting = []
    for number in range(3):
        client = balancer.connect()
        client.sendall(b"%d" % number)
        waiting.append(client)
        wait_until(lambda number=number: len(queue_of(balancer)) == number + 1, "to be queued")
    for number in range(3):
        first.close()
        held.close()
        first, held = waiting[number], backend.accept()
        assert held.recv(10) == b"%d" % number
        assert balancer.server.pool["b1"].active == 1
    first.close()
    held.close()
    records = balancer.records(4)
    assert {record["close_reason"] for record in records} == {"completed"}
    assert [record["queued_ms"] > 0 for record in records] == [False, True, True, True]


def test_all_that_wait_are_served_by_whatever_gets_free(proxy, peer, wait_until, read_to_end):
    backends = [peer(), peer()]
    balancer = start(proxy, backends, max_waiting=20)
    clients = [balancer.connect() for _ in range(12)]
    for client in clients:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
    wait_until(lambda: len(queue_of(balancer)) == 10, "ten to wait")
    for _ in range(6):
        for backend in backends:
            upstream = backend.accept()
            assert read_to_end(upstream) == b"question"
            upstream.sendall(b"answer")
            upstream.close()
    assert [read_to_end(client) for client in clients] == [b"answer"] * 12
    records = balancer.records(12)
    served = [record["backend"] for record in records]
    assert sorted(served) == ["b1"] * 6 + ["b2"] * 6


def test_full_queue_refuses(proxy, peer, wait_until, caplog):
    backend = peer()
    balancer = start(proxy, [backend], max_waiting=1)
    balancer.connect()
    backend.accept()
    balancer.connect()
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert (record["close_reason"], record["backend"]) == ("queue_full", None)
    assert balancer.server.ledger.closed["tcp"] == {CloseReason.QUEUE_FULL: 1}
    assert any("queue.max_waiting" in each.getMessage() for each in caplog.records)


def test_waiting_ends_with_the_timeout(proxy, peer):
    backend = peer()
    balancer = start(proxy, [backend], timeout_ms=150)
    balancer.connect()
    backend.accept()
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "queue_timeout"
    assert record["queued_ms"] >= 150
    assert record["backends_tried"] == []


def test_time_in_the_queue_is_no_connect_timeout(proxy, peer, wait_until):
    """`total_timeout_ms` is about attempts; waiting has a limit of its own."""
    backend = peer()
    balancer = start(proxy, [backend], retries={"total_timeout_ms": 50})
    first = balancer.connect()
    held = backend.accept()
    second = balancer.connect()
    second.sendall(b"patient")
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    began_s = balancer.server.wheel._tick
    wait_until(lambda: balancer.server.wheel._tick > began_s + 3, "more than 50 ms to pass")
    first.close()
    held.close()
    assert backend.accept().recv(10) == b"patient"


def test_a_client_that_leaves_while_it_waits_frees_its_place(proxy, peer, reset, wait_until):
    backend = peer()
    balancer = start(proxy, [backend], max_waiting=1)
    balancer.connect()
    backend.accept()
    for leave in (reset, socket.socket.close):
        client = balancer.connect()
        wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
        leave(client)
        wait_until(lambda: len(queue_of(balancer)) == 0, "it to leave")
    reasons = [record["close_reason"] for record in balancer.records(2)]
    assert reasons == ["client_reset"] * 2


def test_a_client_that_has_said_all_keeps_waiting_for_the_answer(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    first = balancer.connect()
    held = backend.accept()
    client = balancer.connect()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    first.close()
    held.close()
    upstream = backend.accept()
    assert upstream.recv(100) == b"question"
    upstream.sendall(b"answer")
    assert client.recv(100) == b"answer"


def test_nobody_waits_for_a_backend_that_is_down(proxy, peer):
    backend = peer()
    balancer = start(proxy, [backend])
    pool = balancer.server.pool
    balancer.connect()
    backend.accept()
    balancer.call(lambda: pool["b1"].set_healthy(False, balancer.server.poller.now))
    client = balancer.connect()
    assert client.recv(1) == b""
    client.close()
    reasons = {record["close_reason"] for record in balancer.records(2)}
    assert reasons == {"backend_down", "no_backend"}


def test_waiting_connections_take_part_in_the_stop(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend], timeouts={"drain_timeout_ms": 200})
    balancer.connect()
    backend.accept()
    client = balancer.connect()
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    balancer.stop()
    assert client.recv(1) == b""
    balancer.finish()
    reasons = [record["close_reason"] for record in balancer.records(2)]
    assert reasons == ["shutdown", "shutdown"]


def test_another_rule_frees_the_place(proxy, peer, wait_until):
    """Two rules share a backend; its limit is one for both."""
    backend = peer()
    rules = [
        {"name": name, "clients": [network], "targets": ["b1"], "queue": {"max_waiting": 5}}
        for name, network in (("a", "127.0.0.1/32:PORT"), ("b", "0.0.0.0/0:PORT"))
    ]
    balancer = proxy([{"address": backend.address, "max_connections": 1}], rules=rules)
    with socket.create_connection(
        ("127.0.0.1", balancer.port), source_address=("127.0.0.2", 0)
    ) as first:
        held = backend.accept()
        client = balancer.connect()
        client.sendall(b"a")
        rules = {rule.name: rule for rule in balancer.server.rules}
        wait_until(lambda: len(rules["a"].queue) == 1, "one to wait")
        assert len(rules["b"].queue) == 0
        first.close()
        held.close()
        assert backend.accept().recv(1) == b"a"


def test_after_waiting_there_is_time_for_another_try(proxy, peer, wait_until):
    """Both backends are full for longer than `total_timeout_ms`; then the first one refuses."""
    b1, b2 = peer(), peer()
    balancer = start(proxy, [b1, b2], retries={"total_timeout_ms": 50})
    holders = [(balancer.connect(), backend.accept()) for backend in (b1, b2)]
    waiting = balancer.connect()
    waiting.sendall(b"patient")
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    began = balancer.server.wheel._tick
    wait_until(lambda: balancer.server.wheel._tick > began + 3, "more than 50 ms to pass")
    b1.refuse()
    for sock in holders[0]:
        sock.close()
    balancer.records(1)
    wait_until(lambda: balancer.server.pool["b1"].active == 0, "the attempt to fail")
    for sock in holders[1]:
        sock.close()
    upstream = b2.accept()
    assert upstream.recv(100) == b"patient"
    waiting.close()
    upstream.close()
    assert balancer.records(3)[-1]["backends_tried"] == ["b1", "b2"]


def test_who_comes_when_a_place_is_free_but_others_wait_does_not_overtake(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    balancer.connect()
    backend.accept()
    first = balancer.connect()
    first.sendall(b"first")
    wait_until(lambda: len(queue_of(balancer)) == 1, "one to wait")
    server, late = balancer.server, socket.socketpair()
    late[0].setblocking(False)
    late[1].sendall(b"late")

    def free_a_place_and_arrive() -> None:
        server.pool["b1"].set_max_connections(2, monotonic(), Origin.FILE)
        here = Address("127.0.0.1", balancer.port)
        server.tcp.accept(late[0], Address("127.0.0.9", 9), here)

    balancer.call(free_a_place_and_arrive)
    assert backend.accept().recv(10) == b"first"
    assert len(queue_of(balancer)) == 1
    late[1].close()


def test_a_client_that_left_before_its_turn_to_wait_does_not_wait(proxy, peer, wait_until):
    stalled, full = peer().stall(), peer()
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1", "b2"], "queue": {"max_waiting": 5}}
    balancer = proxy(
        [{"address": stalled.address}, {"address": full.address, "max_connections": 1}],
        rules=[rule],
        timeouts={"connect_timeout_ms": 150},
    )
    balancer.connect()  # given up by b1, then carried by b2
    full.accept()
    client = balancer.connect()
    wait_until(lambda: balancer.server.pool["b1"].active == 1, "the attempt")
    client.close()
    record = balancer.record()
    assert record["close_reason"] == "client_reset"
    assert record["backends_tried"] == ["b1"]
    assert record["queued_ms"] < 5_000


def test_an_idle_client_does_not_keep_the_place_at_a_backend_that_has_finished(proxy, peer):
    backend = peer()
    timeouts = {"half_closed_timeout_ms": 60_000, "backend_finished_timeout_ms": 100}
    balancer = start(proxy, [backend], timeouts=timeouts)
    with balancer.connect() as idle:
        with backend.accept() as upstream:
            upstream.sendall(b"all")
        with balancer.connect() as following, backend.accept() as upstream:
            following.sendall(b"x")
            assert upstream.recv(1) == b"x"
        assert idle.recv(10) == b"all"
        assert balancer.record()["close_reason"] == "half_closed_timeout"
