"""Many connections that end in every way at once; the leak check of conftest.py is the point."""

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

CONNECTIONS = 300
REASONS = {"completed", "client_reset", "backend_reset", "connect_failed"}
# connect_failed: the backend's reset may be there before the proxy has looked at the connection.


@pytest.mark.parametrize("seed", [1, 2])
def test_every_connection_is_recorded_once_and_nothing_is_left(seed, proxy, peer, reset):
    backend = peer()
    balancer = proxy([backend])
    address = ("127.0.0.1", balancer.port)
    server = threading.Thread(target=serve, args=(backend.listener, seed, reset))
    server.start()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: misbehave(address, random.Random(f"{seed} {n}"), reset),
                      range(CONNECTIONS)))  # fmt: skip
    records = balancer.records(CONNECTIONS)
    backend.listener.close()
    server.join(10)
    assert not server.is_alive()
    assert len(records) == CONNECTIONS
    assert {record["close_reason"] for record in records} <= REASONS
    assert "completed" in {record["close_reason"] for record in records}


def misbehave(address, rng: random.Random, reset) -> None:
    with socket.create_connection(address) as client:
        client.settimeout(0.05)
        end_somehow(client, rng, reset)


def serve(listener: socket.socket, seed: int, reset) -> None:
    rng = random.Random(f"server {seed}")
    try:
        for _ in range(CONNECTIONS):
            upstream, _ = listener.accept()
            with upstream:
                upstream.settimeout(0.05)
                end_somehow(upstream, rng, reset)
    except OSError:  # the test has closed the listener
        return


def end_somehow(sock: socket.socket, rng: random.Random, reset) -> None:
    """Send something, perhaps half-close, perhaps read; then FIN or RST."""
    try:
        sock.sendall(bytes(rng.choice([0, 1, 1000, 100_000])))
        if rng.random() < 0.5:
            sock.shutdown(socket.SHUT_WR)
        if rng.random() < 0.5:
            sock.recv(rng.choice([1, 200_000]))
    except OSError:  # the other side was faster, or waits as we do
        pass
    if rng.random() < 0.3:
        reset(sock)
