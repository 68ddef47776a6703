"""UDP sessions while the server drains and stops."""

import json
import signal
import socket

import pytest

from tests.scenario.proxy.conftest import free_port, udp_socket


def test_who_has_a_session_keeps_it_and_nobody_new_is_served(udp_proxy, udp_peer, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"idle_timeout_ms": 500})
    old, new = server.client(), server.client()
    old.send(b"before")
    b1.answer()
    old.recv(100)
    server.stop()
    wait_until(lambda: not server.server.listening, "the drain")
    new.send(b"too late")
    assert server.record()["close_reason"] == "shutdown"
    old.send(b"meanwhile")
    b1.answer()
    assert old.recv(100) == b"meanwhile"
    wait_until(lambda: not server.running, "the end of the drain")
    assert server.records(2)[1]["close_reason"] == "idle_timeout"


def test_a_fault_in_a_tick_does_not_stop_the_clock(udp_proxy, udp_peer, monkeypatch, wait_until):
    b1 = udp_peer()
    server = udp_proxy([b1], udp={"idle_timeout_ms": 50})
    faults = []

    def broken(now):
        faults.append(now)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(server.server.wheel, "advance", broken)
        server.client().send(b"x")
        b1.receive()
        wait_until(lambda: bool(faults), "the fault")
    assert server.record()["close_reason"] == "idle_timeout"


def test_the_drain_has_an_end(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1], top={"timeouts": {"drain_timeout_ms": 50}})
    server.client().send(b"x")
    b1.receive()
    server.finish()
    assert server.record()["close_reason"] == "shutdown"


def test_a_second_signal_ends_all_at_once(udp_proxy, udp_peer):
    b1 = udp_peer()
    server = udp_proxy([b1])
    server.client().send(b"x")
    b1.receive()
    server.stop()
    server.stop()
    server.finish()
    assert server.record()["close_reason"] == "shutdown"


@pytest.mark.parametrize("handover_ms", [0, 60_000])
@pytest.mark.parametrize(
    ("bound", "host", "per_datagram"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.2", False),
        ("::1", "::1", False),
        ("::", "::1", False),
    ],
)
def test_a_successor_has_the_port_at_once_and_old_sessions_go_on(
    udp_peer, start, own, tmp_path, bound, host, per_datagram, handover_ms
):
    b1, port = udp_peer(), free_port()
    config = {
        "bind_addresses": [bound],
        "timeouts": {"handover_ms": handover_ms},
        "backends": [{"id": "b1", "address": b1.address}],
        "rules": [
            {
                "clients": [f"0.0.0.0/0:{port}", f"[::/0]:{port}"],
                "targets": ["b1"],
                "protocol": "udp",
                "udp": {"per_datagram": per_datagram},
            }
        ],
    }

    def run(name: str):
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(config))
        return start(path)

    def client() -> socket.socket:
        sock = own.enter_context(udp_socket(host))
        sock.connect((host, port))
        return sock

    old, new = client(), client()
    first, _ = run("first")
    old.send(b"1")
    before = b1.answer()
    assert old.recv(100) == b"1"
    old.send(b"2")
    assert b1.receive() == (b"2", before)
    first.send_signal(signal.SIGTERM)
    second, log = run("second")
    assert second.poll() is None, log.read_text()
    from_whom = "a process that stops" if handover_ms else f"(pid {first.pid})"
    assert f"taken over from {from_whom}" in log.read_text().replace("python ", "")
    b1.socket.sendto(b"of 2", before)
    assert old.recv(100) == b"of 2"
    new.send(b"new")
    b1.answer()
    assert new.recv(100) == b"new"
    old.send(b"3")
    assert b1.answer() == before
    assert old.recv(100) == b"3"
    first.send_signal(signal.SIGTERM)  # end all at once
    assert first.wait(10) == 0
    old.send(b"4")
    assert b1.answer() != before
    assert old.recv(100) == b"4"


def test_a_port_that_is_not_given_up_is_not_shared(udp_peer, start, tmp_path):
    port = free_port()
    config = {
        "bind_addresses": ["127.0.0.1"],
        "backends": [{"id": "b1", "address": udp_peer().address}],
        "rules": [{"clients": [f"0.0.0.0/0:{port}"], "targets": ["b1"], "protocol": "udp"}],
    }
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(config))
    first, _ = start(tmp_path / "first.yaml")
    second, log = start(tmp_path / "second.yaml")
    assert second.wait(10) != 0
    assert "Address already in use" in log.read_text()
    first.terminate()
    first.wait(10)
