"""A fault of nginy costs one client its UDP session: in all that are told of it, and by time.

That nothing is left of it is checked by the fixture: leases, sockets, timers, descriptors.
"""

import pytest

from nginy.backend.backend import Backend
from nginy.udp.port import Fan
from nginy.udp.session import Session
from tests.scenario.proxy.faults import Once, put_fault

both_kinds = pytest.mark.parametrize("per_datagram", [False, True], ids=["session", "per datagram"])


def start(udp_proxy, backends, per_datagram=False, udp=None, **rule):
    return udp_proxy(
        backends,
        **{
            "strategy": {"type": "least_bytes"},
            "udp": {"per_datagram": per_datagram, **(udp or {})},
            **rule,
        },
    )


def talk(client, backend, text=b"ping"):
    client.send(text)
    backend.answer()
    assert client.recv(100) == text


def assert_lost(server, reason="internal_error"):
    record = server.record()
    assert record["close_reason"] == reason
    assert server.server.pool.open_leases == 1, "the other one's"


def admitted(server):
    return server.server.rules[0].admission.open


@both_kinds
@pytest.mark.parametrize(
    "observer", ["pick", "after_pick", "opened", "load_changed", "state_changed"]
)
def test_a_fault_before_it_is_served_costs_that_client_a_datagram(
    udp_proxy, udp_peer, wait_until, observer, per_datagram
):
    backend = udp_peer()
    listed = [{"address": backend.address, "max_connections": 2}]
    server = start(udp_proxy, listed, per_datagram)
    other, victim = server.client(), server.client()
    talk(other, backend)
    fault = put_fault(server, observer)
    victim.send(b"lost")
    wait_until(lambda: fault.raised, "the fault")
    talk(other, backend)
    assert admitted(server) == 1
    if not per_datagram or observer not in ("pick", "after_pick"):  # then there was a session
        assert_lost(server)
    talk(victim, backend, b"again")


@both_kinds
@pytest.mark.parametrize("observer", ["connected", "first_byte"])
def test_a_fault_at_the_first_answer_costs_that_session(
    udp_proxy, udp_peer, wait_until, observer, per_datagram
):
    backend = udp_peer()
    server = start(udp_proxy, [backend], per_datagram)
    other, victim = server.client(), server.client()
    talk(other, backend)
    put_fault(server, observer)
    victim.send(b"lost")
    backend.answer()
    assert_lost(server)
    assert admitted(server) == 1
    talk(other, backend)
    talk(victim, backend, b"again")


@both_kinds
def test_a_fault_while_bytes_are_told_costs_that_session(
    udp_proxy, udp_peer, monkeypatch, per_datagram
):
    monkeypatch.setattr("nginy.udp.session.PROGRESS_S", 0.0)
    backend = udp_peer()
    server = start(udp_proxy, [backend], per_datagram)
    other, victim = server.client(), server.client()
    talk(other, backend)
    talk(victim, backend)
    put_fault(server, "moved")
    victim.send(b"carried")
    assert backend.receive()[0] == b"carried"
    assert_lost(server)
    assert admitted(server) == 1
    talk(other, backend)


@both_kinds
@pytest.mark.parametrize("observer", ["moved", "closed"])
def test_a_fault_at_the_end_keeps_nobody_else_from_ending(
    udp_proxy, udp_peer, wait_until, observer, per_datagram, caplog
):
    backend = udp_peer()
    server = start(udp_proxy, [backend], per_datagram)
    clients = [server.client() for _ in range(3)]
    for client in clients:
        talk(client, backend)
    fault = put_fault(server, observer)
    server.call(server.server.udp.abort_all)
    assert fault.raised
    assert {record["close_reason"] for record in server.records(3)} == {"shutdown"}
    assert (server.server.open_connections, admitted(server)) == (0, 0)
    assert "a bug" in caplog.text
    talk(clients[0], backend)


def test_a_fault_of_one_that_is_evicted_is_not_that_of_the_newcomer(udp_proxy, udp_peer):
    backend = udp_peer()
    server = start(udp_proxy, [backend], udp={"max_sessions": 1})
    talk(server.client(), backend)
    put_fault(server, "closed")
    talk(server.client(), backend, b"newcomer")
    assert server.record()["close_reason"] == "evicted"


@both_kinds
def test_a_fault_of_one_that_expires_keeps_nobody_else_from_it(
    udp_proxy, udp_peer, monkeypatch, per_datagram
):
    backend = udp_peer()
    server = start(udp_proxy, [backend], per_datagram, udp={"idle_timeout_ms": 200})
    for client in [server.client() for _ in range(3)]:
        talk(client, backend)
    monkeypatch.setattr(Backend, "succeeded", faulty_method(Backend.succeeded))
    reasons = [record["close_reason"] for record in server.records(3)]
    assert sorted(reasons) == ["idle_timeout", "idle_timeout", "internal_error"]
    assert (server.server.open_connections, admitted(server)) == (0, 0)


def test_a_fault_of_one_that_settles_costs_that_session(
    udp_proxy, udp_peer, monkeypatch, wait_until
):
    monkeypatch.setattr("nginy.udp.sessions.HOLD_S", 0.05)
    monkeypatch.setattr("nginy.udp.session.HOLD_S", 0.05)
    backend = udp_peer()
    server = start(udp_proxy, [backend])
    other, victim = server.client(), server.client()
    talk(other, backend)
    monkeypatch.setattr(Backend, "succeeded", faulty_method(Backend.succeeded))
    victim.send(b"unanswered")
    backend.receive()
    assert_lost(server)
    talk(other, backend)


def test_a_fault_while_one_is_rebound_keeps_nobody_else_from_it(udp_proxy, udp_peer, wait_until):
    first, second = udp_peer(), udp_peer()
    server = start(
        udp_proxy,
        [first, {"address": second.address, "backup": True}],
        live_connections={"on_down": "rebind"},
    )
    clients = [server.client() for _ in range(3)]
    for client in clients:
        talk(client, first)
    put_fault(server, "closed")
    server.call(lambda: server.server.pool["b1"].set_healthy(False, 0.0))
    for client in clients:
        talk(client, second)
    records = server.records(1)
    assert [record["close_reason"] for record in records] == ["internal_error"]
    assert server.server.pool.open_leases == 3


@pytest.mark.parametrize("kind", [Session, Fan], ids=lambda kind: kind.__name__)
def test_a_fault_while_a_datagram_is_carried_costs_that_client(
    udp_proxy, udp_peer, monkeypatch, kind
):
    backend = udp_peer()
    server = start(udp_proxy, [backend], kind is Fan)
    other, victim = server.client(), server.client()
    talk(other, backend)
    talk(victim, backend)
    monkeypatch.setattr(kind, "datagram", faulty_method(kind.datagram))
    victim.send(b"lost")
    assert_lost(server)
    assert admitted(server) == 1
    talk(other, backend)
    talk(victim, backend, b"again")


@both_kinds
def test_a_fault_while_a_session_is_made_costs_that_client_a_datagram(
    udp_proxy, udp_peer, monkeypatch, wait_until, caplog, per_datagram
):
    backend = udp_peer()
    server = start(udp_proxy, [backend], per_datagram)
    other, victim = server.client(), server.client()
    talk(other, backend)
    monkeypatch.setattr(Session, "__init__", faulty_method(Session.__init__))
    victim.send(b"lost")
    wait_until(lambda: "a bug" in caplog.text, "the fault")
    talk(other, backend)
    assert (admitted(server), server.server.pool.open_leases) == (1, 1)
    talk(victim, backend, b"again")


def faulty_method(method):
    """The function `method`, at fault once; a function again, so that it binds."""
    once = Once(method)
    return lambda *args, **named: once(*args, **named)
