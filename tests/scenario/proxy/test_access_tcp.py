"""Access lists on real connections: counted, recorded and logged with their own reason."""

import pytest

from nginy.traffic.close_reason import CloseReason


def rule(**settings: object) -> dict[str, object]:
    return {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1"], **settings}


def test_denied_client_is_closed_recorded_counted_and_logged(proxy, peer, caplog):
    access = [{"allow": "10.0.0.0/8"}, {"deny": "127.0.0.0/8"}]
    balancer = proxy([peer()], rules=[rule(access=access)])
    for _ in range(3):
        client = balancer.connect()
        assert client.recv(1) == b""
        client.close()
    for record in balancer.records(3):
        assert record["close_reason"] == "denied"
        assert record["rule"] == "rules[0]"
        assert record["backend"] is None
        assert record["backends_tried"] == []
    assert balancer.server.ledger.closed["tcp"] == {CloseReason.DENIED: 3}
    complaints = [each.getMessage() for each in caplog.records if "access list" in each.message]
    assert len(complaints) == 1
    assert "client 127.0.0.1:" in complaints[0]


def test_first_line_that_matches_decides(proxy, peer):
    backend = peer()
    access = [{"allow": "127.0.0.1"}, {"deny": "all"}]
    balancer = proxy([backend], rules=[rule(access=access)])
    with balancer.connect() as client, backend.accept() as upstream:
        client.sendall(b"let in")
        assert upstream.recv(10) == b"let in"
    assert balancer.record()["close_reason"] == "completed"


@pytest.mark.parametrize(("verb", "reason"), [("allow", "completed"), ("deny", "denied")])
def test_rules_have_lists_of_their_own(proxy, peer, verb, reason):
    rules = [
        rule(clients=["127.0.0.0/8:PORT"], access=[{verb: "all"}]),
        rule(clients=["0.0.0.0/0:PORT"], access=[{"deny": "all"}]),
    ]
    backend = peer()
    balancer = proxy([backend], rules=rules)
    client = balancer.connect()
    if verb == "allow":
        backend.accept().close()
    assert client.recv(1) == b""
    client.close()
    assert balancer.record()["close_reason"] == reason
