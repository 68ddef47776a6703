"""UDP sessions: whose datagram goes where, and when a session ends."""

import errno
import re
import resource
import socket
from contextlib import ExitStack, suppress

import pytest

from nginy.udp import session as udp_session
from nginy.udp.session import Session

LARGEST = 65_507


def test_a_session_stays_with_its_backend(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    one, other = server.client(), server.client()
    for _ in range(2):
        one.send(b"one")
        b1.answer(b"b1 ")
        assert one.recv(100) == b"b1 one"
        other.send(b"other")
        b2.answer(b"b2 ")
        assert other.recv(100) == b"b2 other"


def test_every_datagram_of_a_session_comes_from_one_upstream_port(udp_proxy, udp_peer):
    b1 = udp_peer()
    client = udp_proxy([b1]).client()
    client.send(b"1")
    client.send(b"2")
    assert b1.receive()[1] == b1.receive()[1]


def test_a_backend_may_speak_unasked(udp_proxy, udp_peer):
    b1 = udp_peer()
    client = udp_proxy([b1]).client()
    client.send(b"subscribe")
    sender = b1.answer()
    for number in range(100):
        b1.socket.sendto(b"%d" % number, sender)
    assert client.recv(100) == b"subscribe"
    assert [client.recv(100) for _ in range(100)] == [b"%d" % number for number in range(100)]


@pytest.mark.parametrize("size", [0, 1, 1500, LARGEST])
def test_a_datagram_of_any_size_is_carried_both_ways(udp_proxy, udp_peer, size):
    b1 = udp_peer()
    server = udp_proxy([b1])
    client = server.client()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    b1.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    payload = bytes(range(256)) * 256
    client.send(payload[:size])
    b1.answer()
    assert client.recv(1 << 16) == payload[:size]
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert (record["datagrams_up"], record["bytes_up"]) == (1, size)
    assert (record["datagrams_down"], record["bytes_down"]) == (1, size)


def test_an_idle_session_ends(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"idle_timeout_ms": 50})
    client = server.client()
    client.send(b"1")
    first = b1.answer()
    record = server.record()
    assert record["close_reason"] == "idle_timeout"
    assert record["protocol"] == "udp"
    assert record["backend"] == "b1"
    assert record["first_byte_ms"] is not None
    client.send(b"2")
    b1.answer()
    assert server.records(2)[1]["upstream_local"] != f"127.0.0.1:{first[1]}"


def test_the_time_to_the_last_byte_is_not_that_to_the_idle_timeout(udp_proxy, udp_peer):
    b1, idle_ms = udp_peer(), 1_000
    strategy = {"type": "least_time", "metric": "last_byte"}
    server = udp_proxy([b1, udp_peer()], udp={"idle_timeout_ms": idle_ms}, strategy=strategy)
    client = server.client()
    client.send(b"1")
    b1.answer()
    assert server.record()["duration_ms"] >= idle_ms
    (rule,) = server.server.rules
    (said,) = [text for who, text in rule.balancer.scores(None, 0.0).items() if who.id == "b1"]
    assert float(re.search(r"([0-9.]+) ms", said)[1]) < idle_ms


def test_after_so_many_requests_a_new_session_begins(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    client = udp_proxy([b1, b2], udp={"requests": 2}).client()
    for datagram in (b"1", b"2", b"3"):
        client.send(datagram)
    assert b1.receive()[0] == b"1"
    second, old = b1.receive()
    assert second == b"2"
    assert b2.receive()[0] == b"3"
    b1.socket.sendto(b"late", old)
    assert client.recv(100) == b"late"


def test_so_many_responses_end_the_session(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"responses": 2})
    client = server.client()
    client.send(b"1")
    _, sender = b1.receive()
    b1.socket.sendto(b"a", sender)
    assert client.recv(100) == b"a"
    assert server.server.udp.open_sessions == 1
    b1.socket.sendto(b"b", sender)
    assert client.recv(100) == b"b"
    assert server.record()["close_reason"] == "completed"


def test_responses_are_counted_for_each_request(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"responses": 1})
    client = server.client()
    client.send(b"1")
    client.send(b"2")
    (_, sender), _ = b1.receive(), b1.receive()
    b1.socket.sendto(b"a", sender)
    assert client.recv(100) == b"a"
    assert server.server.udp.open_sessions == 1
    b1.socket.sendto(b"b", sender)
    assert client.recv(100) == b"b"
    assert server.record()["datagrams_down"] == 2


def test_without_responses_sending_ends_the_session(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"responses": 0})
    client = server.client()
    client.send(b"log line")
    client.send(b"")
    assert [record["close_reason"] for record in server.records(2)] == ["completed"] * 2
    assert b1.receive()[1] != b1.receive()[1]


def test_answers_before_the_last_request_end_nothing(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"requests": 2, "responses": 1})
    client = server.client()
    client.send(b"1")
    sender = b1.answer()
    assert client.recv(100) == b"1"
    b1.socket.sendto(b"one too many", sender)
    assert client.recv(100) == b"one too many"
    assert server.server.udp.open_sessions == 1
    client.send(b"2")
    assert b1.receive() == (b"2", sender)
    record = server.record()
    assert record["close_reason"] == "completed"
    assert (record["datagrams_up"], record["datagrams_down"]) == (2, 2)


def test_a_backend_that_owes_answers_has_failed(udp_proxy, udp_peer):
    silent, b2 = udp_peer(), udp_peer()
    first = {"address": silent.address, "max_fails": 1, "fail_timeout_s": 60}
    server = udp_proxy([first, b2], udp={"responses": 1, "idle_timeout_ms": 50})
    server.client().send(b"1")
    assert server.record()["close_reason"] == "idle_timeout"
    for number in range(2):
        client = server.client()
        client.send(b"again")
        b2.answer()
        assert client.recv(100) == b"again"
        assert server.records(number + 2)[-1]["backend"] == "b2"


def test_sessions_count_as_connections(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy(
        [{"address": b1.address, "max_connections": 1, "weight": 10}, b2],
        strategy={"type": "least_conn"},
    )
    for _ in range(2):
        server.client().send(b"x")
    b1.receive()
    b2.receive()
    server.client().send(b"x")
    b2.receive()
    assert [backend.active for backend in server.server.pool.values()] == [1, 2]


def test_a_datagram_does_not_wait_for_a_place(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([{"address": b1.address, "max_connections": 1}])
    server.client().send(b"x")
    b1.receive()
    server.client().send(b"y")
    record = server.record()
    assert (record["close_reason"], record["backend"]) == ("no_backend", None)
    assert record["dropped"] == 1


@pytest.mark.parametrize("algorithm", ["source_hash", "ketama", "maglev", "ip_hash", "source"])
def test_hashes_hash_the_client(udp_proxy, udp_peer, algorithm):
    peers = [udp_peer() for _ in range(4)]
    server = udp_proxy(peers, strategy={"type": algorithm}, udp={"responses": 0})
    for _ in range(6):
        server.client().send(b"x")
    assert len({record["backend"] for record in server.records(6)}) == 1


def test_the_session_idle_longest_is_evicted(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"max_sessions": 2})
    first, second, third = server.client(), server.client(), server.client()
    for client in (first, second, first, third):
        client.send(b"x")
        b1.answer()
        client.recv(100)
    record = server.record()
    assert record["close_reason"] == "evicted"
    assert record["client"] == f"127.0.0.1:{second.getsockname()[1]}"
    assert server.server.udp.open_sessions == 2


def test_a_new_session_is_shed(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy(
        [b1],
        udp={"max_sessions": 1, "when_full": "shed"},
        limits={"max_connections": 2},  # who is turned away does not count
    )
    first, second = server.client(), server.client()
    first.send(b"x")
    b1.answer()
    for number in range(1, 4):
        second.send(b"y")
        assert server.records(number)[-1]["close_reason"] == "shed"
    first.send(b"z")
    assert b1.receive()[0] == b"z"


def fill_descriptors(own: ExitStack) -> None:
    """Leave this process none; given back when `own` is closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    own.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    for _ in range(200):
        with suppress(OSError):
            own.enter_context(socket.socket())


def test_out_of_descriptors_the_oldest_session_goes(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1])
    clients = [server.client() for _ in range(3)]
    clients[0].send(b"0")
    b1.receive()
    with ExitStack() as own:
        fill_descriptors(own)
        for number in (1, 2):
            clients[number].send(b"%d" % number)
            assert b1.receive()[0] == b"%d" % number
    assert [record["close_reason"] for record in server.records(2)] == ["evicted"] * 2


def test_out_of_source_ports_the_oldest_session_goes(udp_proxy, udp_peer, monkeypatch):
    """What the kernel says when net.ipv4.ip_local_port_range is used up; here it has two ports."""
    connect, taken = udp_session.open_upstream, []

    def from_few_ports(address, buffer_bytes):
        taken[:] = [sock for sock in taken if sock.fileno() != -1]
        if len(taken) == 2:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        taken.append(connect(address, buffer_bytes))
        return taken[-1]

    monkeypatch.setattr(udp_session, "open_upstream", from_few_ports)
    b1 = udp_peer()
    server = udp_proxy([b1])
    for number in range(4):
        server.client().send(b"%d" % number)
        assert b1.receive()[0] == b"%d" % number
    assert [record["close_reason"] for record in server.records(2)] == ["evicted"] * 2


def test_a_socket_that_cannot_be_watched_leaves_nothing(udp_proxy, udp_peer, monkeypatch):
    """fs.epoll.max_user_watches."""
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"when_full": "shed"})
    with monkeypatch.context() as patch:

        def full(sock, handler):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(server.server.poller, "watch_listener", full)
        server.client().send(b"1")
        assert server.record()["close_reason"] == "no_resources"
    assert server.server.pool.open_leases == 0
    server.client().send(b"2")
    assert b1.receive()[0] == b"2"


def test_a_fault_of_ours_ends_one_session_and_not_the_others(udp_proxy, udp_peer, monkeypatch):
    b1 = udp_peer()
    server = udp_proxy([b1])
    unlucky, other = server.client(), server.client()
    with monkeypatch.context() as patch:
        unlucky.send(b"1")
        _, sender = b1.receive()

        def broken(session, link, datagram, now):
            raise ZeroDivisionError

        patch.setattr(Session, "_answer", broken)
        b1.socket.sendto(b"answer", sender)
        assert server.record()["close_reason"] == "internal_error"
        patch.setattr(Session, "_bind", broken)
        other.send(b"lost")
        server.call(lambda: None)
    other.send(b"2")
    other.send(b"3")
    assert {b1.receive()[0] for _ in range(2)} == {b"2", b"3"}


def test_out_of_descriptors_a_new_session_is_shed(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"when_full": "shed"})
    first, second = server.client(), server.client()
    first.send(b"1")
    b1.answer()
    with ExitStack() as own:
        fill_descriptors(own)
        second.send(b"2")
        first.send(b"still here")
        assert b1.receive()[0] == b"still here"
    assert server.record()["close_reason"] == "no_resources"


def test_nobodys_clients_are_refused(udp_proxy, udp_peer):
    server = udp_proxy([udp_peer()], clients=["127.0.0.2/32:PORT"])
    server.client().send(b"x")
    record = server.record()
    assert (record["close_reason"], record["rule"]) == ("no_rule", None)


def test_refusals_are_all_counted_but_not_all_recorded(udp_proxy, udp_peer, wait_until):
    server = udp_proxy([udp_peer()], clients=["127.0.0.2/32:PORT"])
    client = server.client()
    for _ in range(500):
        client.send(b"x")
    closed = server.server.ledger.closed["udp"]
    wait_until(lambda: sum(closed.values()) == 500, "500 refusals")
    assert 100 <= len(server.records(100)) <= 300
