"""The door of a UDP rule: sessions count as connections, and datagrams of a session do not."""

import pytest


@pytest.mark.parametrize("per_datagram", [False, True])
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"limits": {"max_connections": 2}}, "rule_full"),
        ({"limits": {"max_connections_per_source": 2}}, "source_full"),
        (
            {"limits": {"new_per_s_per_source": 0.001, "burst_per_source": 2}},
            "source_rate",
        ),
        ({"top": {"limits": {"max_connections": 2}}}, "too_many_connections"),
    ],
)
def test_a_third_client_is_one_too_many(udp_proxy, udp_peer, settings, reason, per_datagram):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"per_datagram": per_datagram}, **settings)
    clients = [server.client() for _ in range(3)]
    for client in clients[:2]:
        for _ in range(3):
            client.send(b"x")
            b1.receive()
    clients[2].send(b"x")
    record = server.record()
    assert (record["close_reason"], record["backend"]) == (reason, None)
    assert server.server.ledger.closed["udp"].total() == 1


def test_a_place_is_free_again_when_its_session_has_ended(udp_proxy, udp_peer):
    b1 = udp_peer()
    limits = {"max_connections": 1, "max_connections_per_source": 1}
    server = udp_proxy([b1], udp={"responses": 1}, limits=limits)
    for number in range(3):
        client = server.client()
        client.send(b"x")
        b1.answer()
        assert client.recv(100) == b"x"
        assert server.records(number + 1)[-1]["close_reason"] == "completed"


def test_who_is_denied_is_refused(udp_proxy, udp_peer):
    b1 = udp_peer()
    access = [{"deny": "127.0.0.2/32"}, {"allow": "all"}]
    server = udp_proxy([b1], access=access, top={"bind_addresses": ["0.0.0.0"]})
    server.client(host="127.0.0.2").send(b"no")
    assert server.record()["close_reason"] == "denied"
    server.client().send(b"yes")
    assert b1.receive()[0] == b"yes"


def test_two_rules_on_one_port_each_serve_their_clients(proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    rule = {"protocol": "udp", "limits": {"max_connections": 1}}
    rules = [
        {**rule, "clients": ["127.0.0.0/8:PORT"], "targets": ["b1"]},
        {**rule, "clients": ["127.0.0.2/32:PORT"], "targets": ["b2"]},
    ]
    server = proxy([b1, b2], rules=rules)
    for host, peer in (("127.0.0.1", b1), ("127.0.0.2", b2)):
        client = server.client(host=host)
        client.send(host.encode())
        peer.answer()
        assert client.recv(100) == host.encode()
        server.client(host=host).send(b"one too many")
    assert [record["close_reason"] for record in server.records(2)] == ["rule_full"] * 2


def test_a_backend_without_sessions_has_none_to_end_little_by_little(udp_proxy, udp_peer):
    b1 = udp_peer()
    policy = {"on_down": "close_spread"}
    server = udp_proxy([b1], live_connections=policy, udp={"responses": 1})
    client = server.client()
    client.send(b"x")
    b1.answer()
    client.recv(100)
    backend = server.server.pool["b1"]
    server.call(lambda: backend.set_healthy(False, 0.0))
    server.call(lambda: backend.set_healthy(True, 0.0))
    client.send(b"y")
    assert b1.receive()[0] == b"y"


def test_sessions_may_end_little_by_little(udp_proxy, udp_peer):
    b1 = udp_peer()
    policy = {"on_down": "close_spread", "spread_s": 0.2}
    server = udp_proxy([b1, udp_peer()], live_connections=policy, strategy={"type": "first"})
    for _ in range(3):
        server.client().send(b"x")
        b1.receive()
    server.call(lambda: server.server.pool["b1"].set_healthy(False, 0.0))
    assert server.server.udp.open_sessions > 0
    assert {record["close_reason"] for record in server.records(3)} == {"backend_down"}
