"""Bytes, half-closes, resets and timeouts through the real proxy on loopback."""

import hashlib
import os
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nginy.engine.movers import CopyMover, SpliceMover

MIB = 1 << 20


@pytest.fixture(params=[CopyMover, SpliceMover], ids=lambda mover: mover.__name__)
def proxy(request, monkeypatch, proxy):
    """As in conftest.py, with every byte mover there is."""
    monkeypatch.setattr("nginy.tcp.connection.CopyMover", request.param)
    return proxy


def test_bytes_go_both_ways(proxy, peer):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    for _ in range(3):
        client.sendall(b"question")
        assert upstream.recv(100) == b"question"
        upstream.sendall(b"an answer")
        assert client.recv(100) == b"an answer"
    client.close()
    assert upstream.recv(100) == b""
    upstream.close()

    record = balancer.record()
    assert record["bytes_up"] == 24
    assert record["bytes_down"] == 27
    assert record["close_reason"] == "completed"
    assert record["backend"] == "b1"
    assert record["backends_tried"] == ["b1"]
    assert record["rule"] == "rules[0]"
    assert record["backend_address"] == backend.address
    assert record["listener"] == f"127.0.0.1:{balancer.port}"
    assert 0 < record["connect_ms"] <= record["first_byte_ms"] <= record["duration_ms"]
    duration_s = record["closed_s"] - record["opened_s"]
    assert record["duration_ms"] == pytest.approx(duration_s * 1e3, abs=0.001)


def test_urgent_data_holds_up_nothing(proxy, peer):
    """A read stops before it (nginx 1.22.1 waits there). The urgent byte itself is dropped."""
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    for _ in range(20):
        client.send(b"abc")
        client.send(b"!", socket.MSG_OOB)
        client.send(b"def")
        received = b""
        while len(received) < 6:
            received += upstream.recv(100)
        assert received == b"abcdef"


def test_urgent_data_in_a_bulk_upload_holds_up_nothing(proxy, peer):
    """The kernel splices nothing past it."""
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()

    def upload() -> None:
        client.sendall(bytes(8 * MIB))
        client.send(b"!", socket.MSG_OOB)
        client.sendall(bytes(32 * MIB))  # more than the kernel keeps for us
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=upload)
    sender.start()
    received = 0
    while piece := upstream.recv(MIB):
        received += len(piece)
    sender.join(10)
    assert not sender.is_alive()
    assert received == 40 * MIB
    upstream.close()
    assert balancer.record()["close_reason"] == "completed"


def test_record_names_both_sockets_of_the_proxy(proxy, peer):
    backend = peer()
    balancer = proxy([backend])
    with balancer.connect() as client, backend.accept() as upstream:
        client_address = "{}:{}".format(*client.getsockname())
        upstream_local = "{}:{}".format(*upstream.getpeername())
    record = balancer.record()
    assert record["client"] == client_address
    assert record["upstream_local"] == upstream_local


def test_backend_may_speak_first(proxy, peer):
    backend = peer()
    client = proxy([backend]).connect()
    backend.accept().sendall(b"220 ready")
    assert client.recv(100) == b"220 ready"


def test_nagle_is_off_on_both_sides(proxy, peer):
    """Small pieces leave at once though earlier ones are unacknowledged: read from the kernel."""
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"x")
    assert upstream.recv(1) == b"x"
    ends = {client.getsockname(), upstream.getsockname()}
    proxied = [sock for sock in _sockets_of_this_process() if sock.getpeername() in ends]
    try:
        assert len(proxied) == 2
        for sock in proxied:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        for sock in proxied:
            sock.close()


def _sockets_of_this_process() -> list[socket.socket]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                sock = socket.socket(fileno=os.dup(int(name)))
                try:
                    sock.getpeername()
                    found.append(sock)
                except OSError:
                    sock.close()
        except OSError:
            continue
    return found


def test_client_half_close_is_passed_on_and_the_answer_still_comes(proxy, peer, read_to_end):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"all of it")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(upstream) == b"all of it"
    upstream.sendall(b"late answer")
    assert client.recv(100) == b"late answer"
    upstream.close()
    assert client.recv(100) == b""
    assert balancer.record()["close_reason"] == "completed"


def test_backend_half_close_is_passed_on_and_the_client_may_go_on(proxy, peer, read_to_end):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    upstream.sendall(b"bye")
    upstream.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"bye"
    client.sendall(b"one more thing")
    client.close()
    assert read_to_end(upstream) == b"one more thing"
    assert balancer.record()["close_reason"] == "completed"


def test_client_that_leaves_before_sending(proxy, peer):
    backend = peer()
    balancer = proxy([backend])
    balancer.connect().close()
    upstream = backend.accept()
    assert upstream.recv(1) == b""
    upstream.close()
    record = balancer.record()
    assert record["close_reason"] == "completed"
    assert record["first_byte_ms"] is None


def test_large_transfers_both_ways_at_once_arrive_whole(proxy, peer, read_to_end):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    up, down = (random.Random(seed).randbytes(24 * MIB) for seed in (1, 2))
    with ThreadPoolExecutor(4) as pool:
        sending = [
            pool.submit(_send_and_end, client, up),
            pool.submit(_send_and_end, upstream, down),
        ]
        arrived_up = pool.submit(read_to_end, upstream)
        arrived_down = pool.submit(read_to_end, client)
        assert _sha256(arrived_up.result()) == _sha256(up)
        assert _sha256(arrived_down.result()) == _sha256(down)
        assert [each.result() for each in sending] == [None, None]
    record = balancer.record()
    assert (record["bytes_up"], record["bytes_down"]) == (len(up), len(down))
    assert record["close_reason"] == "completed"


def _send_and_end(sock: socket.socket, payload: bytes) -> None:
    sock.sendall(payload)
    sock.shutdown(socket.SHUT_WR)


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def test_stalled_client_holds_back_a_fast_backend(proxy, peer):
    """What the backend can push is bounded by the kernel's buffers, and nothing is lost."""
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    bound = 2 * (_largest_buffer("tcp_wmem") + _largest_buffer("tcp_rmem")) + MIB
    resident_before = _resident_bytes()
    upstream.settimeout(1.0)
    pushed = _push_until_blocked(upstream, 4 * bound)
    assert 0 < pushed <= bound
    assert _resident_bytes() - resident_before < 8 * MIB

    upstream.shutdown(socket.SHUT_WR)
    received = 0
    while piece := client.recv(MIB):
        received += len(piece)
    assert received == pushed


def _push_until_blocked(sock: socket.socket, most: int) -> int:
    pushed = 0
    try:
        while pushed < most:
            pushed += sock.send(bytes(256 * 1024))
    except TimeoutError:
        pass
    return pushed


def _largest_buffer(setting: str) -> int:
    return int(Path(f"/proc/sys/net/ipv4/{setting}").read_text().split()[2])


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_backend_that_resets_midway(proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    upstream.sendall(b"half an ans")
    assert client.recv(100) == b"half an ans"
    reset(upstream)
    assert client.recv(100) == b""
    record = balancer.record()
    assert record["close_reason"] == "backend_reset"
    assert record["bytes_down"] == 11


def test_last_answer_before_a_reset_reaches_the_client(proxy, peer, read_to_end):
    """A server that closes with unread bytes resets; what it said before must not be lost."""
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"x" * 1000)
    assert upstream.recv(1, socket.MSG_PEEK) == b"x"
    answer = b"413 " * 8000
    upstream.sendall(answer)
    upstream.close()  # with bytes unread: RST
    assert read_to_end(client) == answer
    record = balancer.record()
    assert record["close_reason"] == "backend_reset"
    assert record["bytes_down"] == len(answer)
    assert record["first_byte_ms"] is not None


def test_backend_that_dies_while_the_client_sends(proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"x" * MIB)
    assert upstream.recv(1) == b"x"  # a reset before that would count as a failed connect
    reset(upstream)
    _send_until_closed(client)
    assert balancer.record()["close_reason"] == "backend_reset"


def test_backend_that_half_closes_and_then_resets_under_a_silent_client(proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    upstream.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    reset(upstream)
    assert balancer.record()["close_reason"] == "backend_reset"


def test_client_that_resets(proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    client.sendall(b"partial")
    assert upstream.recv(100) == b"partial"
    reset(client)
    with pytest.raises(ConnectionResetError):  # an end would make the part look like all of it
        upstream.recv(100)
    assert balancer.record()["close_reason"] == "client_reset"


def test_client_that_resets_while_the_backend_sends(proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    client = balancer.connect()
    upstream = backend.accept()
    sender = threading.Thread(target=_send_until_closed, args=(upstream,))
    sender.start()
    assert client.recv(100)
    reset(client)
    sender.join(10)
    assert not sender.is_alive()
    assert balancer.record()["close_reason"] == "client_reset"


def test_aborted_while_a_bulk_transfer_waits_for_its_next_turn(
    proxy, peer, caplog, read_to_end, wait_until
):
    backend = peer()
    balancer = proxy([backend], timeouts={"drain_timeout_ms": 3_600_000})
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            client = balancer.connect()
            pool.submit(_send_until_closed, backend.accept())
            pool.submit(read_to_end, client)
            assert client.recv(1, socket.MSG_PEEK)
        balancer.stop()
        wait_until(lambda: not balancer.server.listening, "drain")
        balancer.stop()
    reasons = [record["close_reason"] for record in balancer.records(4)]
    assert reasons == ["shutdown"] * 4
    assert "fault of nginy" not in caplog.text


def _send_until_closed(sock: socket.socket) -> None:
    try:
        while True:
            sock.sendall(bytes(64 * 1024))
    except OSError:
        return


def test_idle_connection_is_closed(proxy, peer):
    backend = peer()
    balancer = proxy([backend], timeouts={"idle_timeout_ms": 150})
    client = balancer.connect()
    upstream = backend.accept()
    assert client.recv(1) == b""
    assert upstream.recv(1) == b""
    record = balancer.record()
    assert record["close_reason"] == "idle_timeout"
    assert record["duration_ms"] >= 150


def test_traffic_either_way_keeps_a_connection(proxy, peer):
    backend = peer()
    balancer = proxy([backend], timeouts={"idle_timeout_ms": 400})
    client = balancer.connect()
    upstream = backend.accept()
    upstream.settimeout(0.1)
    exchanged = 0
    while exchanged < 8:  # 0.8 s in all, twice the limit
        with pytest.raises(TimeoutError):
            upstream.recv(1)
        upstream.sendall(b"x")
        assert client.recv(1) == b"x"
        exchanged += 1
    client.close()
    upstream.close()
    assert balancer.record()["close_reason"] == "completed"


def test_half_closed_connection_has_its_own_limit(proxy, peer):
    backend = peer()
    balancer = proxy([backend], timeouts={"half_closed_timeout_ms": 150})
    client = balancer.connect()
    upstream = backend.accept()
    client.shutdown(socket.SHUT_WR)
    assert upstream.recv(1) == b""
    assert client.recv(1) == b""
    assert balancer.record()["close_reason"] == "half_closed_timeout"


def test_500_connections_at_once(proxy, peer):
    backends = [peer(), peer()]
    balancer = proxy(backends)
    clients = [balancer.connect() for _ in range(500)]
    upstreams = [backends[number % 2].accept() for number in range(500)]
    for client in clients:
        client.sendall(b"%d" % client.getsockname()[1])
    for upstream in upstreams:
        upstream.sendall(b"<" + upstream.recv(100) + b">")
    for client in clients:
        assert client.recv(100) == b"<%d>" % client.getsockname()[1]
    assert balancer.server.tcp.open_connections == 500
    assert balancer.server.pool.open_leases == 500
    for sock in clients + upstreams:
        sock.close()
    records = balancer.records(500)
    assert {record["close_reason"] for record in records} == {"completed"}
    assert len({record["id"] for record in records}) == 500
