"""A connection leaves no reference cycle: its memory is free at its end, not at a collection."""

import gc


def test_connections_leave_no_cyclic_garbage(proxy, peer, wait_until):
    backend = peer()
    balancer = proxy([backend])
    exchange(balancer, backend)
    wait_until(lambda: balancer.server.tcp.open_connections == 0, "the first to end")
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            exchange(balancer, backend)
        wait_until(lambda: balancer.server.tcp.open_connections == 0, "all to end")
        assert gc.collect() < 20  # of a cycle per connection there would be several objects each
    finally:
        gc.enable()


def exchange(balancer, backend) -> None:
    with balancer.connect() as client, backend.accept() as upstream:
        client.sendall(b"question")
        assert upstream.recv(100) == b"question"
        upstream.sendall(b"answer")
        assert client.recv(100) == b"answer"
