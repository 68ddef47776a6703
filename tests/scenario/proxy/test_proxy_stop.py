"""Stopping: drain with a deadline, and a second signal."""

import pytest

from nginy.address import Address
from nginy.server.sockets import ListenError


def test_drain_lets_a_transfer_finish_and_refuses_new_ones(proxy, peer, wait_until):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"begun")
    assert upstream.recv(100) == b"begun"
    balancer.stop()
    wait_until(lambda: not balancer.server.listening, "listeners closed")
    wait_until(lambda: _refused(balancer), "refusal")
    upstream.sendall(b"finished")
    assert client.recv(100) == b"finished"
    client.close()
    upstream.close()
    balancer.finish()
    assert balancer.record()["close_reason"] == "completed"


def _refused(balancer) -> bool:
    try:
        balancer.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_drain_deadline_closes_what_is_left(proxy, peer):
    backend = peer()
    balancer = proxy([backend], timeouts={"drain_timeout_ms": 200})
    client = balancer.connect()
    upstream = backend.accept()
    balancer.stop()
    assert client.recv(1) == b""
    assert upstream.recv(1) == b""
    balancer.finish()
    assert balancer.record()["close_reason"] == "shutdown"


def test_second_signal_closes_at_once(proxy, peer, wait_until):
    stalled = peer().stall()
    good = peer()
    balancer = proxy([good, stalled], timeouts={"drain_timeout_ms": 3_600_000})
    relayed, connecting = balancer.connect(), balancer.connect()
    good.accept()
    wait_until(lambda: balancer.server.pool.open_leases == 2, "both under way")
    balancer.stop()
    balancer.stop()
    assert relayed.recv(1) == b""
    assert connecting.recv(1) == b""
    balancer.finish()
    assert {record["close_reason"] for record in balancer.records(2)} == {"shutdown"}


def test_idle_balancer_stops_at_once(proxy, peer):
    balancer = proxy([peer()], timeouts={"drain_timeout_ms": 3_600_000})
    balancer.finish()
    assert balancer.server.listening == ()


def test_port_in_use_is_named_with_its_rule(proxy, peer):
    taken = peer()
    port = int(taken.address.rpartition(":")[2])
    with pytest.raises(AssertionError) as failure:
        proxy([peer()], rules=[{"clients": [f"0.0.0.0/0:{port}"], "targets": ["b1"]}])
    assert "Address already in use" in str(failure.value)
    assert str(Address("127.0.0.1", port)) in str(failure.value)
    assert "rules[0]" in str(failure.value)
    assert ListenError.__name__ in str(failure.value)
