"""A fault of nginy costs one connection: at every wait of it, and in all that are told of it.

That nothing is left of it is checked by the fixture: leases, sockets, timers, descriptors.
"""

import socket

import pytest

from tests.scenario.proxy.faults import put_fault


def start(proxy, backends, **rule):
    """Least bytes hears of everything; an idle connection is no news to it."""
    rule = {
        "clients": ["0.0.0.0/0:PORT"],
        "targets": [f"b{number}" for number in range(1, len(backends) + 1)],
        **rule,
    }
    return proxy(backends, rules=[rule])


def open_connections(balancer):
    found = []
    balancer.call(lambda: found.extend(balancer.server.tcp._open))
    return set(found)


class Pair:
    """A connection through the balancer: client and backend."""

    def __init__(self, balancer, backend):
        self.client = balancer.connect()
        self.backend = backend.accept()

    def talk(self, text=b"ping"):
        self.client.sendall(text)
        assert self.backend.recv(100) == text
        self.backend.sendall(text)
        assert self.client.recv(100) == text

    def close(self):
        self.client.close()
        self.backend.close()


def ended(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def assert_lost(balancer, reason="internal_error"):
    record = balancer.record()
    assert record["close_reason"] == reason
    if reason == "internal_error":
        assert record["fault"] == "balancer"
    assert balancer.server.pool.open_leases == 1, "the other one's"


# At every wait.


def connecting(proxy, peer, wait_until):
    alive, stalled = peer(), peer().stall()
    balancer = start(proxy, [alive, stalled])
    other = Pair(balancer, alive)
    before = open_connections(balancer)
    client = balancer.connect()
    wait_until(lambda: balancer.server.pool["b2"].active == 1, "it to be connecting")
    return balancer, other, client, before


def queued(proxy, peer, wait_until):
    backend = peer()
    listed = [{"address": backend.address, "max_connections": 1}]
    balancer = start(proxy, listed, queue={"max_waiting": 5})
    other = Pair(balancer, backend)
    before = open_connections(balancer)
    client = balancer.connect()
    wait_until(lambda: len(balancer.server.rules[0].queue) == 1, "it to be queued")
    return balancer, other, client, before


def relaying(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    other = Pair(balancer, backend)
    before = open_connections(balancer)
    pair = Pair(balancer, backend)
    pair.talk()
    return balancer, other, pair.client, before


@pytest.mark.parametrize("wait", [connecting, queued, relaying], ids=lambda wait: wait.__name__)
def test_a_fault_at_a_wait_costs_that_connection(proxy, peer, wait_until, caplog, wait):
    balancer, other, client, before = wait(proxy, peer, wait_until)
    (victim,) = open_connections(balancer) - before
    balancer.call(lambda: victim.throw(RuntimeError("a bug")))
    assert ended(client)
    assert_lost(balancer)
    other.talk()
    assert "a bug" in caplog.text


# In all that are told.

BEFORE_IT_IS_SERVED = ["pick", "after_pick", "opened", "connected", "load_changed", "state_changed"]


@pytest.mark.parametrize("observer", BEFORE_IT_IS_SERVED)
def test_a_fault_before_it_is_served_costs_that_connection(proxy, peer, observer):
    backend = peer()
    listed = [{"address": backend.address, "max_connections": 2}]
    balancer = start(proxy, listed, strategy={"type": "least_bytes"})
    other = Pair(balancer, backend)
    fault = put_fault(balancer, observer)
    assert ended(balancer.connect())
    assert fault.raised
    assert_lost(balancer)
    other.talk()
    if observer == "connected":  # it was accepted, too
        backend.accept()
    Pair(balancer, backend).talk()


def test_a_fault_at_the_first_byte_costs_that_connection(proxy, peer):
    """The event that met it also said that the backend has ended, and nobody says so again."""
    backend = peer()
    balancer = start(proxy, [backend], strategy={"type": "least_bytes"})
    other = Pair(balancer, backend)
    victim = Pair(balancer, backend)
    fault = put_fault(balancer, "first_byte")
    victim.backend.sendall(b"last words")
    victim.backend.shutdown(socket.SHUT_WR)
    assert victim.client.recv(100) == b"last words"
    assert ended(victim.client)
    assert fault.raised
    assert_lost(balancer)
    other.talk()


def test_a_fault_while_bytes_are_told_costs_that_connection(proxy, peer, monkeypatch):
    monkeypatch.setattr("nginy.tcp.connection.PROGRESS_S", 0.05)
    backend = peer()
    balancer = start(proxy, [backend], strategy={"type": "least_bytes"})
    other = Pair(balancer, backend)
    victim = Pair(balancer, backend)
    fault = put_fault(balancer, "moved")
    victim.client.sendall(b"x")
    assert ended(victim.client)
    assert fault.raised
    assert_lost(balancer)
    other.talk()


@pytest.mark.parametrize("observer", ["moved", "closed"])
def test_a_fault_at_the_end_changes_nothing_for_others(proxy, peer, observer, caplog):
    backend = peer()
    balancer = start(proxy, [backend], strategy={"type": "least_bytes"})
    other = Pair(balancer, backend)
    victim = Pair(balancer, backend)
    victim.talk()
    fault = put_fault(balancer, observer)
    victim.close()
    assert_lost(balancer, "completed")
    assert fault.raised
    assert "a bug" in caplog.text
    other.talk()


def test_a_fault_of_the_log_costs_the_record_alone(proxy, peer, wait_until):
    backend = peer()
    balancer = start(proxy, [backend])
    other = Pair(balancer, backend)
    fault = put_fault(balancer, "write_record")
    Pair(balancer, backend).close()
    wait_until(lambda: fault.raised, "the record to be lost")
    wait_until(lambda: balancer.server.open_connections == 1, "the other one to be alone")
    other.talk()
    other.close()
    assert balancer.record()["id"] == "1"
