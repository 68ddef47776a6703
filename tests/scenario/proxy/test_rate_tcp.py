"""Upload and download rate per connection: lower bounds on time, whole bytes, other ways free."""

import random
import threading
from time import monotonic

import pytest

from nginy.engine.movers import CopyMover, SpliceMover

RATE = 400_000
TOTAL = 600_000
LEAST_S = TOTAL / RATE - 1
"""The bucket holds one second's worth."""


@pytest.fixture(params=[CopyMover, SpliceMover], ids=lambda mover: mover.__name__)
def proxy(request, monkeypatch, proxy):
    """As in conftest.py, with every byte mover there is."""
    monkeypatch.setattr("nginy.tcp.connection.CopyMover", request.param)
    return proxy


def start(proxy, backend, **limits):
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": ["b1"], "limits": limits}
    balancer = proxy([backend], rules=[rule])
    client = balancer.connect()
    return balancer, client, backend.accept()


def send_and_end(sock, payload):
    sock.sendall(payload)
    sock.shutdown(1)


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_transfer_takes_its_time_and_arrives_whole(proxy, peer, read_to_end, way):
    limit = {f"{way}_bytes_per_s": float(RATE)}
    balancer, client, upstream = start(proxy, peer(), **limit)
    source, sink = (client, upstream) if way == "upload" else (upstream, client)
    payload = random.Random(1).randbytes(TOTAL)
    began_s = monotonic()
    sending = threading.Thread(target=send_and_end, args=(source, payload))
    sending.start()
    arrived = read_to_end(sink)
    assert monotonic() - began_s >= LEAST_S
    sending.join()
    assert arrived == payload
    sink.shutdown(1)
    record = balancer.record()
    assert record["close_reason"] == "completed"
    assert record["bytes_up" if way == "upload" else "bytes_down"] == TOTAL


def test_the_other_way_is_free(proxy, peer):
    """At one byte per second it would take days."""
    _, client, upstream = start(proxy, peer(), upload_bytes_per_s=1.0)
    payload = bytes(TOTAL)
    sending = threading.Thread(target=send_and_end, args=(upstream, payload))
    sending.start()
    received = 0
    while piece := client.recv(1 << 16):
        received += len(piece)
    sending.join()
    assert received == TOTAL


def test_a_paused_connection_is_not_idle(proxy, peer, read_to_end):
    rule = {
        "clients": ["0.0.0.0/0:PORT"],
        "targets": ["b1"],
        "limits": {"upload_bytes_per_s": 4.0},
        "timeouts": {"idle_timeout_ms": 60, "half_closed_timeout_ms": 60},
    }
    backend = peer()
    balancer = proxy([backend], rules=[rule])
    client = balancer.connect()
    upstream = backend.accept()
    send_and_end(client, b"123456")
    assert read_to_end(upstream) == b"123456"
    upstream.close()
    assert balancer.record()["close_reason"] == "completed"


def test_a_reset_ends_a_paused_connection(proxy, peer, reset):
    balancer, client, upstream = start(proxy, peer(), upload_bytes_per_s=1.0)
    client.sendall(bytes(1000))
    assert upstream.recv(10) == b"\0"
    reset(client)
    with pytest.raises(ConnectionResetError):
        upstream.recv(10)
    assert balancer.record()["close_reason"] == "client_reset"
