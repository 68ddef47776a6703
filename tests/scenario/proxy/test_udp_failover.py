"""UDP sessions and backends that refuse, go down, are drained or come back."""

import errno

import pytest

from nginy.backend.wishes import Admin, Origin
from nginy.traffic.ledger import Drop
from nginy.udp import session as udp_session

EXCHANGES = 5


def exchange(client, peer, datagram):
    client.send(datagram)
    peer.answer(b"to ")
    assert client.recv(100) == b"to " + datagram


def test_the_first_datagram_is_sent_again_when_its_backend_refuses(udp_proxy, udp_peer):
    dead, b2 = udp_peer().refuse(), udp_peer()
    server = udp_proxy([dead, b2])
    client = server.client()
    exchange(client, b2, b"first")
    assert not b2.waits()
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert record["backends_tried"] == ["b1", "b2"]
    assert record["backend"] == "b2"
    assert (record["datagrams_up"], record["bytes_up"], record["dropped"]) == (1, 5, 0)


def test_the_first_datagrams_are_sent_again_in_order(udp_proxy, udp_peer, wait_until):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    for number in range(3):
        client.send(b"%d" % number)
    wait_until(b1.waits, "the first backend to have them")
    server.call(b1.refuse)  # with them unread: an answer never comes
    client.send(b"3")
    assert [b2.receive()[0] for _ in range(4)] == [b"0", b"1", b"2", b"3"]


def test_a_refusal_is_a_failure(udp_proxy, udp_peer):
    dead, b2 = udp_peer().refuse(), udp_peer()
    first = {"address": dead.address, "max_fails": 1, "fail_timeout_s": 60}
    server = udp_proxy([first, b2])
    for _ in range(3):
        exchange(server.client(), b2, b"x")
    server.call(server.server.udp.abort_all)
    tried = [record["backends_tried"] for record in server.records(3)]
    assert sorted(tried) == [["b1", "b2"], ["b2"], ["b2"]]


def test_a_backend_is_forgiven_once_it_takes_datagrams_that_need_no_answer(
    udp_proxy, udp_peer, wait_until
):
    b1 = udp_peer()
    first = {"address": b1.address, "max_fails": 1, "fail_timeout_s": 0}
    server = udp_proxy([first, udp_peer()], udp={"responses": 0})
    backend = server.server.pool["b1"]
    server.call(lambda: backend.failed(0.0))
    server.client().send(b"x")
    server.client().send(b"x")
    wait_until(lambda: backend.penalty.fails == 0, "forgiveness")


def test_a_backend_is_forgiven_once_it_has_not_refused_for_a_while(udp_proxy, udp_peer, wait_until):
    b1 = udp_peer()
    server = udp_proxy([{"address": b1.address, "max_fails": 3, "fail_timeout_s": 0}])
    backend = server.server.pool["b1"]
    server.call(lambda: backend.failed(0.0))
    server.client().send(b"x")
    b1.receive()
    assert backend.penalty.fails == 1
    wait_until(lambda: backend.penalty.fails == 0, "forgiveness")
    assert server.server.udp.open_sessions == 1


def test_nobody_takes_it(udp_proxy, udp_peer):
    server = udp_proxy([udp_peer().refuse() for _ in range(5)], retries={"max_tries": 3})
    server.client().send(b"x")
    record = server.record()
    assert record["close_reason"] == "connect_failed"
    assert record["backends_tried"] == ["b1", "b2", "b3"]
    assert (record["backend"], record["datagrams_up"], record["dropped"]) == (None, 0, 1)


def test_one_try_is_one_try(udp_proxy, udp_peer):
    b2 = udp_peer()
    server = udp_proxy([udp_peer().refuse(), b2], retries={"max_tries": 1})
    server.client().send(b"x")
    assert server.record()["backends_tried"] == ["b1"]
    assert not b2.waits()


@pytest.mark.parametrize("algorithm", ["round_robin", "first", "least_conn"])
def test_a_udp_flow_leaves_a_dead_backend(udp_proxy, udp_peer, algorithm):
    """Users' problem 1: flows stay glued to a dead backend. Here none of its datagrams is lost."""
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2], strategy={"type": algorithm})
    client = server.client()
    exchange(client, b1, b"before")
    server.call(b1.refuse)
    for _ in range(EXCHANGES):
        exchange(client, b2, b"after")
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert (record["datagrams_up"], record["datagrams_down"]) == (1 + EXCHANGES, 1 + EXCHANGES)
    assert record["backends_tried"] == ["b1", "b2"]


def test_a_one_way_flow_leaves_a_dead_backend(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    exchange(client, b1, b"hello")
    for number in range(3):
        client.send(b"%d" % number)
        assert b1.receive()[0] == b"%d" % number
    server.call(b1.refuse)
    for number in range(3, 6):
        client.send(b"%d" % number)
        assert b2.receive()[0] == b"%d" % number


def test_of_two_datagrams_at_once_to_a_backend_that_died_both_move(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    exchange(client, b1, b"before")

    def send_both() -> None:
        b1.refuse()
        client.send(b"1")
        client.send(b"2")  # read in the same turn: it meets the first one's refusal

    server.call(send_both)
    assert [b2.receive()[0] for _ in range(2)] == [b"1", b"2"]
    server.call(server.server.udp.abort_all)
    record = server.record()
    assert (record["datagrams_up"], record["dropped"]) == (3, 0)


def test_the_last_answer_of_a_backend_that_died_arrives(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    client.send(b"1")
    _, sender = b1.receive()

    def answer_and_die() -> None:
        client.send(b"2")  # it is refused before the answer to the first one is read
        b1.socket.sendto(b"the last", sender)
        b1.refuse()

    server.call(answer_and_die)
    assert client.recv(100) == b"the last"
    b2.answer(b"to ")
    assert client.recv(100) == b"to 2"
    assert not b2.waits(), "what may have been answered is not sent twice"


def test_a_session_that_takes_no_more_datagrams_ends_with_its_backend(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1, udp_peer()], udp={"requests": 1})
    server.client().send(b"the only one")
    b1.receive()
    server.call(lambda: server.server.pool["b1"].set_healthy(False, 0.0))
    assert server.record()["close_reason"] == "backend_down"


@pytest.mark.parametrize("per_datagram", [False, True])
def test_a_backend_that_cannot_be_connected_to_has_refused(
    udp_proxy, udp_peer, monkeypatch, per_datagram
):
    """As IPv6 backends of a host without IPv6."""
    connect = udp_session.open_upstream
    far, b2 = udp_peer(), udp_peer()

    def no_such_family(address, buffer_bytes):
        if str(address) == far.address:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return connect(address, buffer_bytes)

    monkeypatch.setattr(udp_session, "open_upstream", no_such_family)
    first = {"address": far.address, "max_fails": 1, "fail_timeout_s": 60}
    server = udp_proxy([first, b2], udp={"per_datagram": per_datagram})
    client = server.client()
    for number in range(3):
        exchange(client, b2, b"%d" % number)
    assert not server.server.pool["b1"].available(0.0)
    server.call(server.server.udp.abort_all)
    assert server.server.ledger.dropped == {}


def test_a_session_may_stay_with_a_backend_that_refuses(udp_proxy, udp_peer, wait_until):
    b1, b2 = udp_peer(), udp_peer()
    port = b1.socket.getsockname()[1]
    first = {"address": b1.address, "max_fails": 9}
    server = udp_proxy([first, b2], live_connections={"on_down": "keep"})
    client = server.client()
    exchange(client, b1, b"before")
    server.call(b1.refuse)
    client.send(b"lost")
    fails = server.server.pool["b1"].penalty
    wait_until(lambda: fails.fails == 1, "the failure")
    exchange(client, udp_peer(port=port), b"after")
    assert not b2.waits()


def test_of_two_datagrams_at_once_to_a_backend_that_refuses_both_are_sent(
    udp_proxy, udp_peer, wait_until
):
    b1 = udp_peer()
    server = udp_proxy(
        [{"address": b1.address, "max_fails": 9}], live_connections={"on_down": "keep"}
    )
    client = server.client()
    exchange(client, b1, b"before")

    def send_both() -> None:
        b1.refuse()
        client.send(b"1")
        client.send(b"2")

    server.call(send_both)
    dropped = server.server.ledger.dropped
    wait_until(lambda: dropped[Drop.REFUSED] == 2, "both refusals")


def test_a_session_may_end_with_its_backend(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2], live_connections={"on_down": "close"})
    client = server.client()
    exchange(client, b1, b"before")
    server.call(b1.refuse)
    client.send(b"lost")
    assert server.record()["close_reason"] == "backend_reset"
    exchange(client, b2, b"after")


@pytest.mark.parametrize("event", ["down", "unhealthy"])
def test_sessions_leave_a_backend_that_goes_down(udp_proxy, udp_peer, wait_until, event):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    client.send(b"before")
    old = b1.answer()
    client.recv(100)
    backend = server.server.pool["b1"]
    if event == "down":
        server.call(lambda: backend.set_admin(Admin.DOWN, 0.0, Origin.FILE))
    else:
        server.call(lambda: backend.set_healthy(False, 0.0))
    wait_until(lambda: backend.active == 0, "the session to have left")
    exchange(client, b2, b"after")
    b1.socket.sendto(b"from the old one", old)
    exchange(client, b2, b"and nothing else")
    assert server.server.udp.open_sessions == 1


def test_sessions_stay_with_a_backend_that_is_drained(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2])
    client = server.client()
    exchange(client, b1, b"before")
    server.call(lambda: server.server.pool["b1"].set_weight(0, 0.0, Origin.FILE))
    exchange(client, b1, b"after")
    exchange(server.client(), b2, b"somebody new")
    exchange(server.client(), b2, b"somebody new")


def test_sessions_may_leave_a_backend_that_is_drained(udp_proxy, udp_peer):
    b1, b2 = udp_peer(), udp_peer()
    server = udp_proxy([b1, b2], live_connections={"on_drain": "rebind"})
    client = server.client()
    exchange(client, b1, b"before")
    server.call(lambda: server.server.pool["b1"].set_admin(Admin.DRAIN, 0.0, Origin.FILE))
    exchange(client, b2, b"after")


def test_a_flow_comes_back_with_its_only_backend(udp_proxy, udp_peer):
    b1 = udp_peer()
    port = b1.socket.getsockname()[1]
    server = udp_proxy([b1])
    client = server.client()
    exchange(client, b1, b"before")
    server.call(b1.refuse)
    client.send(b"lost")
    assert server.record()["close_reason"] == "connect_failed"
    exchange(client, udp_peer(port=port), b"after")
