"""Finding a backend: refusals, stalls, retries and their limits, on loopback."""

import errno
import socket
from types import SimpleNamespace

FAST = {"connect_timeout_ms": 150}


def test_next_backend_is_used_when_one_refuses(proxy, peer):
    good = peer()
    balancer = proxy([peer().refuse(), good])
    client = balancer.connect()
    upstream = good.accept()
    client.sendall(b"hello")
    assert upstream.recv(100) == b"hello"
    client.close()
    upstream.close()
    record = balancer.record()
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["backend"] == "b2"
    assert record["close_reason"] == "completed"


def test_next_backend_is_used_when_one_stalls(proxy, peer):
    good = peer()
    balancer = proxy([peer().stall(), good], timeouts=FAST)
    client = balancer.connect()
    client.sendall(b"waiting")
    client.shutdown(socket.SHUT_WR)
    upstream = good.accept()
    assert upstream.recv(100) == b"waiting"
    assert upstream.recv(100) == b""
    upstream.close()
    record = balancer.record()
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["duration_ms"] >= 150
    assert record["close_reason"] == "completed"


def test_next_backend_is_used_when_one_is_behind_an_interface_that_is_not_there(proxy, peer):
    good = peer()
    balancer = proxy([{"address": "[fe80::1%none]:80"}, good])
    with balancer.connect(), good.accept():
        pass
    assert balancer.record()["backends_tried"] == ["b1", "b2"]


def test_next_backend_is_used_when_no_local_port_is_left_for_one(proxy, peer, monkeypatch):
    far, good = peer(), peer()

    class NoPortLeft(socket.socket):
        def connect_ex(self, address):
            exhausted = str(address) == far.address
            return errno.EADDRNOTAVAIL if exhausted else super().connect_ex(address)

    balancer = proxy([far, good])
    _replace_sockets_to_backends(monkeypatch, NoPortLeft)
    with balancer.connect(), good.accept():
        pass
    assert balancer.record()["backends_tried"] == ["b1", "b2"]


def _replace_sockets_to_backends(monkeypatch, make) -> None:
    changed = SimpleNamespace(**vars(socket) | {"SocketType": make})
    monkeypatch.setattr("nginy.engine.dial.socket", changed)


def test_a_shortage_of_the_balancers_own_is_not_held_against_the_backend(proxy, peer, monkeypatch):
    backend = peer()
    balancer = proxy([{"address": backend.address, "max_fails": 1}, peer()])

    def exhausted(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as until_here:
        _replace_sockets_to_backends(until_here, exhausted)
        assert balancer.connect().recv(1) == b""
        record = balancer.record()
    assert record["close_reason"] == "no_resources"
    assert record["backends_tried"] == ["b1"]
    assert balancer.server.pool["b1"].penalty.fails == 0


def test_a_fault_of_nginy_ends_one_connection_and_leaves_nothing(proxy, peer, monkeypatch, caplog):
    backend = peer()
    balancer = proxy([backend])
    with monkeypatch.context() as until_here:
        until_here.setattr("nginy.tcp.connection.Relay", None)
        client = balancer.connect()
        backend.accept()
        assert client.recv(1) == b""
        assert balancer.record()["close_reason"] == "internal_error"
    assert "Traceback" in caplog.text
    with balancer.connect() as client, backend.accept() as upstream:
        client.sendall(b"the next one")
        assert upstream.recv(100) == b"the next one"


def test_client_is_closed_when_all_refuse(proxy, peer):
    balancer = proxy([peer().refuse(), peer().refuse()])
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "connect_failed"
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["backend"] is None
    assert record["backend_address"] is None
    assert record["upstream_local"] is None
    assert record["connect_ms"] is None


def test_tries_are_limited(proxy, peer):
    balancer = proxy([peer().refuse() for _ in range(4)], retries={"max_tries": 2})
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["close_reason"] == "connect_failed"


def test_total_time_is_limited(proxy, peer):
    balancer = proxy(
        [peer().stall() for _ in range(3)],
        timeouts={"connect_timeout_ms": 250},
        retries={"max_tries": 3, "total_timeout_ms": 400},
    )
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "connect_timeout"
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["duration_ms"] >= 400


def test_failures_count_for_passive_detection(proxy, peer):
    refusing, good = peer().refuse(), peer()
    balancer = proxy([{"address": refusing.address, "max_fails": 1, "fail_timeout_s": 60}, good])
    for _ in range(3):
        with balancer.connect(), good.accept():
            pass
    tried = [record["backends_tried"] for record in balancer.records(3)]
    assert tried == [["b1", "b2"], ["b2"], ["b2"]]


def test_no_backend_available(proxy, peer):
    backend = peer()
    balancer = proxy([{"address": backend.address, "down": True}])
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "no_backend"
    assert record["backends_tried"] == []


def test_no_rule_for_the_client(proxy, peer, caplog):
    balancer = proxy([peer()], rules=[{"clients": ["10.0.0.0/8:PORT"], "targets": ["b1"]}])
    assert balancer.connect().recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "no_rule"
    assert record["rule"] is None
    assert [reason.value for reason in balancer.server.ledger.closed["tcp"]] == ["no_rule"]
    assert "no rule for client 127.0.0.1" in caplog.text


def test_connection_limit_is_kept(proxy, peer):
    backend = peer()
    balancer = proxy([{"address": backend.address, "max_connections": 1}])
    with balancer.connect(), backend.accept():
        assert balancer.connect().recv(1) == b""
        assert balancer.record()["close_reason"] == "no_backend"
    balancer.records(2)
    with balancer.connect() as client, backend.accept() as upstream:
        client.sendall(b"free again")
        assert upstream.recv(100) == b"free again"


def test_client_that_resets_while_a_backend_stalls(proxy, peer, reset):
    balancer = proxy([peer().stall()], timeouts={"connect_timeout_ms": 60_000})
    client = balancer.connect()
    client.sendall(b"anybody?")
    reset(client)
    record = balancer.record()
    assert record["close_reason"] == "client_reset"
    assert record["backends_tried"] == ["b1"]
    assert record["duration_ms"] < 60_000


def test_ipv6_client_and_backend(proxy, own):
    listener = own.enter_context(
        socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=8)
    )
    backend_address = f"[::1]:{listener.getsockname()[1]}"
    balancer = proxy(
        [{"address": backend_address}],
        rules=[{"clients": ["[::/0]:PORT"], "targets": ["b1"]}],
        bind_addresses=["::1"],
    )
    client = own.enter_context(socket.create_connection(("::1", balancer.port)))
    upstream = own.enter_context(listener.accept()[0])
    client.sendall(b"six")
    assert upstream.recv(100) == b"six"
    client.close()
    upstream.close()
    record = balancer.record()
    assert record["client"].startswith("[::1]:")
    assert record["backend_address"] == backend_address
