"""Live TCP connections when their backend goes down, is drained or removed."""

from time import monotonic

import pytest

from nginy.backend.wishes import Admin, Origin


def start(proxy, backends, **policy):
    targets = [f"b{number}" for number in range(1, len(backends) + 1)]
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": targets, "live_connections": policy}
    return proxy(backends, rules=[rule])


def set_healthy(balancer, name, healthy):
    backend = balancer.server.pool[name]
    balancer.call(lambda: backend.set_healthy(healthy, monotonic()))


def set_admin(balancer, name, admin):
    backend = balancer.server.pool[name]
    balancer.call(lambda: backend.set_admin(admin, monotonic(), Origin.FILE))


def test_connections_of_a_failed_backend_are_closed(proxy, peer):
    """Users' problem 4: they would hang until a timeout. On by default."""
    b1, b2 = peer(), peer()
    balancer = start(proxy, [b1, b2])
    pairs = [(balancer.connect(), backend.accept()) for backend in (b1, b2) * 2]
    set_healthy(balancer, "b1", False)
    for number, (client, upstream) in enumerate(pairs):
        if number % 2 == 0:
            assert client.recv(1) == b""
            assert upstream.recv(1) == b""
        else:
            client.sendall(b"still here")
            assert upstream.recv(100) == b"still here"
    for record in balancer.records(2):
        assert (record["backend"], record["close_reason"]) == ("b1", "backend_down")
    client = balancer.connect()
    client.sendall(b"new")
    assert b2.accept().recv(10) == b"new"


def test_draining_lets_the_old_finish_and_refuses_the_new(proxy, peer):
    """Users' problem 3, its first half."""
    b1, b2 = peer(), peer()
    balancer = start(proxy, [b1, b2])
    old = balancer.connect()
    upstream = b1.accept()
    set_admin(balancer, "b1", Admin.DRAIN)
    for _ in range(3):
        balancer.connect()
        b2.accept()
    old.sendall(b"question")
    assert upstream.recv(100) == b"question"
    upstream.sendall(b"answer")
    assert old.recv(100) == b"answer"
    old.close()
    upstream.close()
    assert balancer.record()["close_reason"] == "completed"


def test_draining_closes_gently_one_by_one(proxy, peer):
    """Users' problem 3, its second half: no storm of reconnections. The rate is tested by a
    hand-set clock in the unit tests; here, that no record lies before its time."""
    backend = peer()
    balancer = start(proxy, [backend], on_drain="close_spread", spread_s=0.5)
    clients = [balancer.connect() for _ in range(5)]
    upstreams = [backend.accept() for _ in clients]
    began_s = monotonic()
    set_admin(balancer, "b1", Admin.DRAIN)
    for client, upstream in zip(clients, upstreams, strict=True):
        assert client.recv(1) == b""
        assert upstream.recv(1) == b""
    records = balancer.records(5)
    assert {record["close_reason"] for record in records} == {"backend_drained"}
    closed_s = [record["closed_s"] for record in records]
    assert closed_s == sorted(closed_s)
    for number, at_s in enumerate(closed_s, 1):
        assert at_s >= began_s + number * 0.1


@pytest.mark.parametrize("policy", ["keep", "close"])
def test_removed_backend(proxy, peer, policy):
    backend = peer()
    balancer = start(proxy, [backend], on_removed=policy)
    client = balancer.connect()
    upstream = backend.accept()
    removed = balancer.server.pool["b1"]
    balancer.call(lambda: removed.remove(monotonic()))
    if policy == "close":
        assert client.recv(1) == b""
        assert balancer.record()["close_reason"] == "backend_removed"
    else:
        client.sendall(b"on and on")
        assert upstream.recv(100) == b"on and on"


def test_keep_on_down(proxy, peer):
    backend = peer()
    balancer = start(proxy, [backend], on_down="keep")
    client = balancer.connect()
    upstream = backend.accept()
    set_healthy(balancer, "b1", False)
    client.sendall(b"on and on")
    assert upstream.recv(100) == b"on and on"


def test_a_backend_that_goes_down_while_it_is_connected_to_is_given_up_for_the_next(
    proxy, peer, wait_until
):
    stalled, good = peer().stall(), peer()
    balancer = start(proxy, [stalled, good])
    client = balancer.connect()
    client.sendall(b"hello")
    wait_until(lambda: balancer.server.pool["b1"].active == 1, "the attempt")
    set_healthy(balancer, "b1", False)
    upstream = good.accept()
    assert upstream.recv(100) == b"hello"
    client.close()
    upstream.close()
    record = balancer.record()
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["close_reason"] == "completed"
    assert balancer.server.pool["b1"].penalty.fails == 0


def test_many_closed_at_once_leave_nothing(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    clients = [balancer.connect() for _ in range(200)]
    live, b1 = balancer.server.rules[0].live, balancer.server.pool["b1"]
    wait_until(lambda: live.tally(b1).reached == 200, "all to be connected")
    set_admin(balancer, "b1", Admin.DOWN)
    for client in clients:
        assert client.recv(1) == b""
    reasons = {record["close_reason"] for record in balancer.records(200)}
    assert reasons == {"backend_down"}


def test_a_backend_that_was_tried_in_vain_matters_no_more(proxy, peer):
    good = peer()
    balancer = start(proxy, [peer().refuse(), good])
    client = balancer.connect()
    upstream = good.accept()
    set_healthy(balancer, "b1", False)
    client.sendall(b"still here")
    assert upstream.recv(100) == b"still here"


def test_an_event_does_not_meet_connections_that_have_ended(proxy, peer, caplog):
    backend = peer()
    balancer = start(proxy, [backend])
    with balancer.connect(), backend.accept():
        pass
    balancer.records(1)
    set_healthy(balancer, "b1", False)
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []
