"""What a connection begins with is read before its rule is chosen; what follows is relayed."""

import socket
from time import monotonic

import pytest

from nginy.address import Address
from nginy.engine.poller import GONE
from nginy.engine.strand import suspended
from nginy.tcp.connection import Connection
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from tests.scenario.proxy.faults import Once

LONGEST = 100


def first_line(poller):
    """Reads `host port`, as a PROXY header names the client, and not a byte more."""

    async def preface(connection: Connection, _peer: Address) -> Address:
        client = connection.client
        poller.watch(client, connection.resume)
        line = b""
        while not line.endswith(b"\n"):
            if await suspended() & GONE:
                raise ConnectionEnd(CloseReason.CLIENT_RESET)
            before = len(line)
            seen = client.recv(LONGEST, socket.MSG_PEEK)
            line = seen[: seen.find(b"\n") + 1] or seen
            if len(line) in (before, LONGEST):  # it has ended, or is no such line
                raise ConnectionEnd(CloseReason.CLIENT_RESET)
        client.recv(len(line))
        poller.unwatch(client)
        host, port = line.split()
        return Address(host.decode(), int(port))

    return preface


@pytest.fixture
def start(proxy):
    def begin(far, near, **settings):
        """Clients of 10.7.0.0/16 are served by `near`, others by `far`."""
        rules = [
            {"name": "far", "clients": ["0.0.0.0/0:PORT"], "targets": ["b1"]},
            {"name": "near", "clients": ["10.7.0.0/16:PORT"], "targets": ["b2"]},
        ]
        balancer = proxy([far, near], rules=rules, **settings)
        preface = first_line(balancer.server.poller)
        balancer.call(lambda: setattr(balancer.server.tcp, "_preface", preface))
        return balancer

    return begin


def waits_for_its_line(balancer, wait_until):
    """A connection that is open, and has not said who it is."""
    client = balancer.connect()
    wait_until(lambda: balancer.server.open_connections == 1, "it to be accepted")
    return client


def test_the_line_says_whose_rule_it_is_and_the_rest_reaches_the_backend(start, peer, read_to_end):
    far, near = peer(), peer()
    balancer = start(far, near)
    client = balancer.connect()
    client.sendall(b"10.7.7.7 4000\nquestion")
    client.shutdown(socket.SHUT_WR)
    upstream = near.accept()
    assert read_to_end(upstream) == b"question"
    upstream.sendall(b"answer")
    upstream.close()
    assert read_to_end(client) == b"answer"
    record = balancer.record()
    assert (record["rule"], record["client"], record["bytes_up"]) == ("near", "10.7.7.7:4000", 8)
    assert record["close_reason"] == "completed"


def test_it_may_come_in_pieces_and_with_nothing_after_it(start, peer, wait_until):
    far, near = peer(), peer()
    balancer = start(far, near)
    client = waits_for_its_line(balancer, wait_until)
    for piece in (b"10.9.", b"7.7 40", b"00"):
        client.sendall(piece)
    client.sendall(b"\n")
    upstream = far.accept()
    client.sendall(b"late question")
    assert upstream.recv(100) == b"late question"
    upstream.sendall(b"answer")
    assert client.recv(100) == b"answer"


def test_the_time_it_takes_is_not_that_of_the_backend(start, peer, wait_until):
    far, near = peer(), peer()
    balancer = start(far, near)
    told = []
    balancer.server.rules[0].balancer.opened = lambda backend, now: told.append(now)
    client = waits_for_its_line(balancer, wait_until)
    began_s = monotonic()
    client.sendall(b"10.9.7.7 4000\n")
    far.accept()
    assert told[0] >= began_s
    client.close()


def test_the_named_client_is_the_one_that_is_refused(start, peer, read_to_end):
    far, near = peer(), peer()
    balancer = start(far, near)
    balancer.call(
        lambda: setattr(
            balancer.server.rules[1].admission, "enter", lambda client, now: CloseReason.DENIED
        )
    )
    client = balancer.connect()
    client.sendall(b"10.7.7.7 4000\n")
    assert read_to_end(client) == b""
    assert (balancer.record()["close_reason"], balancer.record()["client"]) == (
        "denied", "10.7.7.7:4000"
    )  # fmt: skip


@pytest.mark.parametrize("end", ["reset", "FIN", "no such line"])
def test_a_client_that_does_not_say_who_it_is_leaves_nothing(start, peer, wait_until, reset, end):
    balancer = start(peer(), peer())
    client = waits_for_its_line(balancer, wait_until)
    if end == "reset":
        reset(client)
    elif end == "FIN":
        client.shutdown(socket.SHUT_WR)
    else:
        client.sendall(b"x" * 2 * LONGEST)
    wait_until(lambda: balancer.server.open_connections == 0, "it to end")
    assert balancer.server.poller.watched == len(balancer.server.listening)


def test_a_fault_while_it_is_read_costs_that_connection(
    start, peer, wait_until, monkeypatch, caplog
):
    far = peer()
    balancer = start(far, peer())
    victim = waits_for_its_line(balancer, wait_until)
    (connection,) = balancer.server.tcp._open
    balancer.call(lambda: connection.throw(RuntimeError("a bug")))
    assert victim.recv(1) == b""
    once = Once(balancer.server.tcp._preface)
    balancer.call(lambda: setattr(balancer.server.tcp, "_preface", once))
    assert balancer.connect().recv(1) == b""
    client = balancer.connect()
    client.sendall(b"10.9.7.7 4000\nhello")
    assert far.accept().recv(100) == b"hello"
    assert caplog.text.count("a bug") >= 2


def test_an_aborted_shutdown_ends_it(start, peer, wait_until):
    balancer = start(peer(), peer())
    client = waits_for_its_line(balancer, wait_until)
    balancer.call(balancer.server.tcp.abort_all)
    assert client.recv(1) == b""
    assert balancer.server.open_connections == 0
