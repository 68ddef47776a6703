"""What algorithms hear of a connection while it lives."""

import json
from time import monotonic

from nginy.address import Address

SOMEBODY = Address("127.0.0.1", 1)


def start(proxy, backends, **strategy):
    targets = [f"b{number}" for number in range(1, len(backends) + 1)]
    rule = {"clients": ["0.0.0.0/0:PORT"], "targets": targets, "strategy": strategy}
    return proxy(backends, rules=[rule])


def scores_of(balancer):
    """What the algorithm would compare, by backend."""
    algorithm = balancer.server.rules[0].balancer
    said = {}
    balancer.call(lambda: said.update(algorithm.scores(SOMEBODY, monotonic())))
    return {backend.id: score for backend, score in said.items()}


def test_bytes_count_while_the_connection_is_open(proxy, peer, wait_until):
    b1, b2 = peer(), peer()
    balancer = start(proxy, [b1, b2], type="least_bytes", decay_s=1000.0)
    bulk = balancer.connect()
    upstream = b1.accept()
    upstream.sendall(bytes(200_000))
    received = 0
    while received < 200_000:
        received += len(bulk.recv(1 << 16))
    wait_until(lambda: len(set(scores_of(balancer).values())) == 2, "the bytes to be told")
    for _ in range(3):
        balancer.connect()
        b2.accept()
    assert balancer.server.pool["b1"].active == 1


def test_the_rest_is_told_at_the_end_and_nothing_twice(proxy, peer, wait_until):
    b1 = peer()
    balancer = start(proxy, [b1], type="least_bytes", decay_s=1e6)
    client = balancer.connect()
    upstream = b1.accept()
    client.sendall(b"x" * 1000)
    wait_until(lambda: scores_of(balancer)["b1"].startswith("1000 "), "the first report")
    upstream.sendall(b"y" * 500)
    client.close()
    upstream.close()
    balancer.records(1)
    assert scores_of(balancer)["b1"].startswith("1500 ")


def test_the_first_byte_is_told_at_once(proxy, peer):
    b1 = peer()
    balancer = start(proxy, [b1], type="peak_ewma", metric="first_byte")
    client = balancer.connect()
    upstream = b1.accept()
    client.sendall(b"question")
    assert upstream.recv(100) == b"question"
    assert scores_of(balancer)["b1"] == "latency unknown, being tried"
    upstream.sendall(b"x")
    assert client.recv(1) == b"x"
    assert " ms x (1 open + 1)" in scores_of(balancer)["b1"]


def test_a_pick_has_backends_probed(proxy, peer, udp_peer):
    backend, probed = peer(), udp_peer()
    port = int(probed.address.rpartition(":")[2])
    balancer = start(proxy, [backend], type="prequal", probe_port=port, idle_probe_s=1000.0)
    balancer.call(lambda: setattr(balancer.server.monitors, "tick", lambda _now: None))
    while probed.waits():
        probed.receive()
    balancer.connect()
    backend.accept()
    assert "probe" in json.loads(probed.receive()[0])
