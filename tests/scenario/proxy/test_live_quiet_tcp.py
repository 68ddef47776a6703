"""Users' problem 13: quiet sessions that are cut, and dead ones that stay."""

import socket
from time import monotonic


def test_a_quiet_session_lives_as_long_as_its_own_rule_says(own, proxy, peer):
    """Every rule has its idle limit, and the limit of half-closed connections is another one."""
    backend = peer()
    quick = {"idle_timeout_ms": 100}
    patient = {"idle_timeout_ms": 600_000, "half_closed_timeout_ms": 100}
    balancer = proxy(
        [backend],
        rules=[
            {"clients": ["127.0.0.1/32:PORT"], "targets": ["b1"], "timeouts": patient},
            {"clients": ["127.0.0.0/8:PORT"], "targets": ["b1"], "timeouts": quick},
        ],
    )
    quiet = balancer.connect()
    upstream = backend.accept()
    address, source = ("127.0.0.1", balancer.port), ("127.0.0.2", 0)
    cut = own.enter_context(socket.create_connection(address, source_address=source))
    backend.accept()
    assert cut.recv(1) == b""
    assert balancer.record()["close_reason"] == "idle_timeout"
    quiet.sendall(b"still here")
    assert upstream.recv(100) == b"still here"


def test_a_peer_that_never_answers_the_end_is_let_go(proxy, peer):
    backend = peer()
    balancer = proxy([backend], timeouts={"half_closed_timeout_ms": 100})
    client = balancer.connect()
    upstream = backend.accept()
    began_s = monotonic()
    client.shutdown(1)
    assert upstream.recv(1) == b""
    assert client.recv(1) == b""
    assert monotonic() - began_s >= 0.1
    assert balancer.record()["close_reason"] == "half_closed_timeout"
