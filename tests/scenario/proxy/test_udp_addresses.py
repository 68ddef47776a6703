"""Which of our addresses a UDP client used, both families, and both protocols on one port."""

import socket

import pytest


@pytest.mark.parametrize(
    ("bound", "used", "clients"),
    [
        ("0.0.0.0", ("127.0.0.1", "127.0.0.2"), "0.0.0.0/0:PORT"),
        ("127.0.0.3", ("127.0.0.3",), "0.0.0.0/0:PORT"),
        ("::", ("::1",), "::/0:PORT"),
        ("::1", ("::1",), "::/0:PORT"),
    ],
)
def test_answers_come_from_the_address_that_was_asked(
    udp_proxy, udp_peer, own, bound, used, clients
):
    b1 = udp_peer()
    server = udp_proxy([b1], clients=[clients], top={"bind_addresses": [bound]})
    client = server.client(used[0])
    client = own.enter_context(socket.socket(client.family, socket.SOCK_DGRAM))
    client.bind(("", 0))
    client.settimeout(10)
    upstream = set()
    for address in used:
        client.sendto(b"where?", (address, server.port))
        upstream.add(b1.answer())
        answer, source = client.recvfrom(100)
        assert (answer, source[0], source[1]) == (b"where?", address, server.port)
    assert len(upstream) == len(used), "a session for each address that the client used"
    server.call(server.server.udp.abort_all)
    listeners = {record["listener"] for record in server.records(len(used))}
    expected = {f"[{a}]:{server.port}" if ":" in a else f"{a}:{server.port}" for a in used}
    assert listeners == expected


@pytest.mark.parametrize("size", [0, 65_507])
def test_a_wildcard_listener_carries_any_size(udp_proxy, udp_peer, size):
    b1 = udp_peer()
    server = udp_proxy([b1], top={"bind_addresses": ["0.0.0.0"]})
    client = server.client()
    client.send(bytes(size))
    b1.answer()
    assert client.recv(1 << 16) == bytes(size)


def test_an_ipv6_backend(udp_proxy, udp_peer):
    b1 = udp_peer(host="::1")
    client = udp_proxy([b1]).client()
    client.send(b"six")
    b1.answer()
    assert client.recv(100) == b"six"


def test_an_ipv6_backend_that_refuses(udp_proxy, udp_peer):
    dead, b2 = udp_peer(host="::1").refuse(), udp_peer()
    client = udp_proxy([dead, b2]).client()
    client.send(b"six")
    b2.answer()
    assert client.recv(100) == b"six"


def test_tcp_and_udp_share_a_port(proxy, peer, udp_peer):
    tcp, udp = peer(), udp_peer()
    rule = {"clients": ["0.0.0.0/0:PORT"]}
    rules = [
        {**rule, "targets": ["b1"]},
        {**rule, "targets": ["b2"], "protocol": "udp"},
    ]
    server = proxy([tcp, udp], rules=rules)
    stream, client = server.connect(), server.client()
    stream.sendall(b"tcp")
    assert tcp.accept().recv(100) == b"tcp"
    client.send(b"udp")
    udp.answer()
    assert client.recv(100) == b"udp"
    assert len(server.server.listening) == 2


def test_a_port_that_is_taken_is_a_clear_error(udp_proxy, udp_peer):
    taken = udp_peer()
    host, port = taken.socket.getsockname()
    with pytest.raises(AssertionError, match=rf"cannot listen on {host}:{port} \(udp\).*dns") as _:
        udp_proxy([udp_peer()], clients=[f"0.0.0.0/0:{port}"], name="dns")
