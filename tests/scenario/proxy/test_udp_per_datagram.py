"""UDP rules that balance every datagram by itself."""

EACH = 10


def start(udp_proxy, backends, **rule):
    return udp_proxy(backends, **{"udp": {"per_datagram": True}, **rule})


def test_one_busy_udp_sender_is_spread_over_the_backends(udp_proxy, udp_peer):
    """Users' problem 9: syslog, NetFlow or statsd from one port pin one backend."""
    peers = [udp_peer() for _ in range(3)]
    client = start(udp_proxy, peers).client()
    sent = [b"%d" % number for number in range(3 * EACH)]
    for datagram in sent:
        client.send(datagram)
    got = [[peer.receive()[0] for _ in range(EACH)] for peer in peers]
    assert got == [sent[0::3], sent[1::3], sent[2::3]]


def test_answers_find_their_client(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = start(udp_proxy, [b1, b2])
    clients = [server.client() for _ in range(2)]
    for client in clients:
        for peer, prefix in ((b1, b"b1 "), (b2, b"b2 ")):
            client.send(b"%d" % client.fileno())
            peer.answer(prefix)
            assert client.recv(100) == prefix + b"%d" % client.fileno()


def test_each_backend_sees_one_socket_of_a_client(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = start(udp_proxy, [b1, b2])
    client = server.client()
    for _ in range(6):
        client.send(b"x")
    for peer in (b1, b2):
        assert len({peer.receive()[1] for _ in range(3)}) == 1
    assert [backend.active for backend in server.server.pool.values()] == [1, 1]
    server.call(server.server.udp.abort_all)
    assert [record["datagrams_up"] for record in server.records(2)] == [3, 3]


def test_a_client_is_one_connection_at_the_door(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = start(udp_proxy, [b1, b2], limits={"max_connections": 1})
    first, second = server.client(), server.client()
    first.send(b"1")
    first.send(b"2")
    b1.receive()
    b2.receive()
    second.send(b"no")
    assert server.record()["close_reason"] == "rule_full"
    server.call(server.server.udp.abort_all)
    second.send(b"yes")
    assert b1.receive()[0] == b"yes"


def test_what_a_dead_backend_refuses_goes_to_another(udp_proxy, udp_peer):
    peers = [udp_peer(), udp_peer().refuse(), udp_peer()]
    client = start(udp_proxy, peers).client()
    sent = [b"%d" % number for number in range(12)]
    for datagram in sent:
        client.send(datagram)
    got = []
    while len(got) < len(sent):
        got += [peer.receive()[0] for peer in (peers[0], peers[2]) if peer.waits()]
    assert sorted(got) == sorted(sent)


def test_an_algorithm_that_insists_on_a_dead_backend_is_overruled(udp_proxy, udp_peer):
    dead, b2 = udp_peer().refuse(), udp_peer()
    client = start(udp_proxy, [dead, b2], strategy={"type": "first"}).client()
    for datagram in (b"1", b"2", b"3"):
        client.send(datagram)
        assert b2.receive()[0] == datagram


def test_nobody_is_there(udp_proxy, udp_peer):
    server = start(udp_proxy, [udp_peer().refuse() for _ in range(5)])
    client = server.client()
    client.send(b"x")
    records = server.records(3)
    assert [record["close_reason"] for record in records] == ["connect_failed"] * 3
    assert sum(record["dropped"] for record in records) == 1


def test_sessions_of_a_client_are_capped_too(udp_proxy, udp_peer):
    peers = [udp_peer() for _ in range(3)]
    udp = {"per_datagram": True, "max_sessions": 2}
    server = start(udp_proxy, peers, udp=udp)
    client = server.client()
    for peer in peers:
        client.send(b"x")
        peer.receive()
    assert server.record()["close_reason"] == "evicted"
    assert server.server.udp.open_sessions == 2


def test_a_client_may_evict_its_own_session(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    udp = {"per_datagram": True, "max_sessions": 1}
    server = start(udp_proxy, [b1, b2], udp=udp, limits={"max_connections": 1})
    client = server.client()
    for peer in (b1, b2, b1, b2):
        client.send(b"x")
        peer.answer()
        assert client.recv(100) == b"x"
    other = server.client()
    other.send(b"the door counts the client still")
    reasons = [record["close_reason"] for record in server.records(4)]
    assert reasons == ["evicted"] * 3 + ["rule_full"]
    server.call(server.server.udp.abort_all)
    other.send(b"the door is free again")
    b1.receive()


def test_a_session_ends_with_its_last_answer(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = start(udp_proxy, [b1], udp={"per_datagram": True, "responses": 1})
    client = server.client()
    for number in range(2):
        client.send(b"x")
        b1.answer()
        assert client.recv(100) == b"x"
        assert server.records(number + 1)[-1]["close_reason"] == "completed"


def test_a_client_leaves_a_backend_that_goes_down(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = start(udp_proxy, [b1, b2])
    client = server.client()
    client.send(b"x")
    b1.receive()
    server.call(lambda: server.server.pool["b1"].set_healthy(False, 0.0))
    assert server.record()["close_reason"] == "backend_down"
    for _ in range(2):
        client.send(b"y")
        assert b2.receive()[0] == b"y"
