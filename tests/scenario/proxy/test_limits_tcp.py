"""Caps of process, rule and source on real connections."""

import pytest

from nginy.traffic.close_reason import CloseReason


def rule(**limits: object) -> dict[str, object]:
    return {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1"], "limits": limits}


CAPS = {
    "too_many_connections": {"limits": {"max_connections": 2}},
    "rule_full": {"rules": [rule(max_connections=2)]},
    "source_full": {"rules": [rule(max_connections_per_source=2)]},
}


@pytest.mark.parametrize("reason", CAPS)
def test_a_cap_refuses_one_more_and_opens_again(proxy, peer, wait_until, caplog, reason):
    backend = peer()
    balancer = proxy([backend], **CAPS[reason])
    clients = [balancer.connect() for _ in range(2)]
    upstreams = [backend.accept() for _ in clients]
    assert balancer.connect().recv(1) == b""
    refused = balancer.record()
    assert (refused["close_reason"], refused["backend"]) == (reason, None)
    assert balancer.server.ledger.closed["tcp"][CloseReason(reason)] == 1
    assert sum("refused" in each.getMessage() for each in caplog.records) == 1

    clients[0].close()
    upstreams[0].close()
    wait_until(lambda: balancer.server.tcp.open_connections == 1, "one to end")
    client = balancer.connect()
    client.sendall(b"again")
    assert backend.accept().recv(10) == b"again"


def test_rate_per_source_lets_a_burst_in_and_no_more(proxy, peer):
    backend = peer()
    limits = {"new_per_s_per_source": 0.001, "burst_per_source": 3}
    balancer = proxy([backend], rules=[rule(**limits)])
    for _ in range(5):
        balancer.connect()
    for _ in range(3):
        backend.accept()
    refused = balancer.records(2)
    assert [record["close_reason"] for record in refused] == ["source_rate"] * 2


def test_refused_attempts_leave_room_for_others(proxy, peer):
    """What a cap refuses is not counted, so it cannot keep a cap reached."""
    backend = peer()
    balancer = proxy([backend], rules=[rule(max_connections=1)])
    with balancer.connect(), backend.accept():
        for _ in range(10):
            with balancer.connect() as client:
                assert client.recv(1) == b""
    balancer.records(11)
    client = balancer.connect()
    client.sendall(b"x")
    assert backend.accept().recv(1) == b"x"


def test_a_connection_that_reaches_nobody_gives_its_place_back(proxy, peer):
    balancer = proxy([peer().refuse()], rules=[rule(max_connections=1)])
    for _ in range(3):
        with balancer.connect() as client:
            assert client.recv(1) == b""
    reasons = [record["close_reason"] for record in balancer.records(3)]
    assert reasons == ["connect_failed"] * 3
