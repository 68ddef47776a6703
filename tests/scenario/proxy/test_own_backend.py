"""A backend that turns out to be the balancer itself: one connection stays one."""

import pytest

from nginy.address import Address
from tests.scenario.proxy.conftest import Proxy, free_port


def lead_back(server: Proxy, backend_id: str, port: int) -> None:
    """As when a name is resolved anew."""
    (backend,) = server.server.pool.members([backend_id])
    server.call(lambda: setattr(backend, "address", Address("127.0.0.1", port)))


def two_rules(second_port: int, protocol: str) -> list[dict[str, object]]:
    """The first one sends to b1, the second one to b2."""
    return [
        {
            "name": f"r{number}",
            "clients": [f"0.0.0.0/0:{port}"],
            "protocol": protocol,
            "targets": [f"b{number}"],
        }
        for number, port in ((1, "PORT"), (2, second_port))
    ]


@pytest.mark.parametrize("per_datagram", [False, True])
def test_a_datagram_that_comes_back_is_refused(udp_proxy, udp_peer, caplog, per_datagram):
    server = udp_proxy([udp_peer()], udp={"per_datagram": per_datagram})
    lead_back(server, "b1", server.port)
    server.client().send(b"x")
    record = server.record()
    assert (record["close_reason"], record["dropped"]) == ("loop", 1)
    assert server.server.udp.open_sessions == 1
    assert f"backend b1 at 127.0.0.1:{server.port}, which is this balancer itself" in caplog.text
    server.call(server.server.udp.abort_all)
    assert len(server.records(2)) == 2


def test_a_connection_that_comes_back_is_refused(proxy, peer, caplog):
    server = proxy([peer()])
    lead_back(server, "b1", server.port)
    with server.connect() as client:
        assert client.recv(1) == b""
    records = server.records(2)
    assert len(records) == 2
    assert "loop" in {record["close_reason"] for record in records}
    assert f"backend b1 at 127.0.0.1:{server.port}, which is this balancer itself" in caplog.text


def test_a_circle_of_rules_ends_where_it_closes(proxy, peer):
    second_port = free_port()
    server = proxy([peer(), peer()], rules=two_rules(second_port, "tcp"))
    lead_back(server, "b1", second_port)
    lead_back(server, "b2", server.port)
    with server.connect() as client:
        assert client.recv(1) == b""
    reasons = {record["rule"]: record["close_reason"] for record in server.records(3)[:1]}
    assert reasons == {"r1": "loop"}
    assert len(server.records(3)) == 3


def test_one_rule_may_lead_to_another(proxy, udp_peer):
    second_port, end = free_port(), udp_peer()
    backends = [{"address": f"127.0.0.1:{second_port}"}, end]
    server = proxy(backends, rules=two_rules(second_port, "udp"))
    client = server.client()
    client.send(b"x")
    end.answer()
    assert client.recv(100) == b"x"
    server.call(server.server.udp.abort_all)
    assert not any(rule.loops.ways for rule in server.server.rules)
