"""UDP: bursts, floods, rates; nothing is lost without being counted."""

import time

from nginy.traffic.ledger import Drop
from nginy.udp import newcomers
from nginy.udp.socket import enlarge_receive_buffer

BURST = 1000


def test_a_burst_arrives_whole(udp_proxy, udp_peer):
    b1 = udp_peer()
    enlarge_receive_buffer(b1.socket, 8 << 20)
    client = udp_proxy([b1]).client()
    sent = [b"%d" % number for number in range(BURST)]
    for datagram in sent:
        client.send(datagram)
    assert [b1.receive()[0] for _ in sent] == sent


def test_what_the_kernel_drops_is_counted(udp_proxy, udp_peer, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"receive_buffer_bytes": 4096})
    client = server.client()

    def send() -> None:
        for _ in range(BURST):
            client.send(bytes(100))

    server.call(send)  # while the server cannot read
    dropped = server.server.ledger.dropped
    wait_until(lambda: dropped[Drop.KERNEL] > 0, "the kernel's count")
    server.call(server.server.udp.abort_all)
    assert server.record()["datagrams_up"] + dropped[Drop.KERNEL] == BURST


def test_what_the_kernel_drops_of_the_answers_is_counted(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"receive_buffer_bytes": 4096})
    server.client().send(b"x")
    _, sender = b1.receive()

    def answer() -> None:
        for _ in range(BURST):
            b1.socket.sendto(bytes(100), sender)

    server.call(answer)  # while the server cannot read
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert record["dropped"] > 0
    assert record["datagrams_down"] + record["dropped"] <= BURST
    assert server.server.ledger.dropped[Drop.KERNEL] == record["dropped"]


def test_one_datagram_per_source_port_does_not_eat_the_sockets(udp_proxy, udp_peer):
    """Users' problem 8: a session table without a bound."""
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"max_sessions": 20})
    watched = server.server.poller.watched
    for _ in range(100):
        server.client().send(b"x")
        b1.receive()
    udp = server.server.udp
    assert udp.open_sessions == 20
    assert server.server.poller.watched == watched + 20
    assert [record["close_reason"] for record in server.records(80)] == ["evicted"] * 80


def test_who_was_answered_outlasts_a_flood_of_sources_that_were_not(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"max_sessions": 20})
    steady = server.client()
    steady.send(b"first")
    first = b1.answer()
    assert steady.recv(100) == b"first"
    for _ in range(50):
        server.client().send(b"flood")
        b1.receive()
    steady.send(b"later")
    assert b1.receive() == (b"later", first)


def test_who_has_a_session_does_not_wait_behind_new_clients(
    udp_proxy, udp_peer, monkeypatch, wait_until
):
    b1 = udp_peer()
    server = udp_proxy([b1])
    steady = server.client()
    steady.send(b"first")
    b1.receive()
    monkeypatch.setattr(newcomers, "BEGIN_S", 0.0)  # none has time to begin
    new = [server.client() for _ in range(3)]

    def send() -> None:
        for number, client in enumerate(new):
            client.send(b"new %d" % number)
        steady.send(b"known")

    server.call(send)  # while the server cannot read
    assert b1.receive()[0] == b"known"
    monkeypatch.undo()
    assert [b1.receive()[0] for _ in new] == [b"new 0", b"new 1", b"new 2"]
    assert server.server.udp.open_sessions == 4


def test_what_exceeds_the_upload_rate_is_dropped(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], limits={"upload_bytes_per_s": 2000})
    client = server.client()
    for _ in range(100):
        client.send(bytes(1000))
    dropped = server.server.ledger.dropped
    b1.receive()
    server.call(lambda: None)
    assert 0 < dropped[Drop.RATE] < 100
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert record["datagrams_up"] + record["dropped"] == 100


def test_what_exceeds_the_download_rate_waits(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], limits={"download_bytes_per_s": 20_000})
    client = server.client()
    client.send(b"x")
    _, sender = b1.receive()
    sent = [b"%04d" % number + bytes(996) for number in range(40)]
    began_s = time.monotonic()
    for datagram in sent:
        b1.socket.sendto(datagram, sender)
    assert [client.recv(1 << 16) for _ in sent] == sent
    # A second's worth at once, and the last one may be paid for afterwards.
    assert time.monotonic() - began_s >= (40_000 - 20_000 - 1_000) / 20_000
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert (record["datagrams_down"], record["dropped"]) == (40, 0)


def test_a_session_whose_answers_wait_is_not_idle(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], limits={"download_bytes_per_s": 10_000}, udp={"idle_timeout_ms": 100})
    client = server.client()
    client.send(b"x")
    _, sender = b1.receive()
    for _ in range(2):
        b1.socket.sendto(bytes(15_000), sender)
    assert [len(client.recv(1 << 16)) for _ in range(2)] == [15_000] * 2


def test_a_session_may_end_while_its_answers_wait(udp_proxy, udp_peer, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], limits={"download_bytes_per_s": 1})
    client = server.client()
    client.send(b"x")
    _, sender = b1.receive()
    for _ in range(2):
        b1.socket.sendto(bytes(100), sender)
    client.recv(1 << 16)
    server.call(server.server.udp.abort_all)
    assert server.record()["datagrams_down"] == 1
