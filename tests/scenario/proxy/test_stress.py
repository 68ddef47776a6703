"""Thousands of connections and sessions, ended in every way, while backends come, go and drain.

Nothing may be left of them (the fixtures look), and no byte may be another one.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from tests.scenario.proxy.conftest import Peer, Proxy, UdpPeer, free_port
from tests.scenario.proxy.stress_ends import Ends

CONNECTIONS = 2000
SESSIONS = 1000
TOGETHER = 64
"""Clients of each protocol at the same time."""
PER_DISTURBANCE = 10
"""Clients that end from one disturbance to the next."""
DEADLINE_S = 60.0
BACKENDS = 4


class Disturbance:
    """Changes a backend now and then; the first of each protocol is left alone."""

    def __init__(self, proxy: Proxy, seed: int) -> None:
        self._proxy = proxy
        self._rng = random.Random(seed)
        self._ended = 0
        self.done = 0

    def client_ended(self) -> None:
        self._ended += 1
        if self._ended % PER_DISTURBANCE == 0:
            self.done += 1
            self._proxy.call(self._disturb)

    def _disturb(self) -> None:
        assert self._proxy.server is not None
        backends = list(self._proxy.server.pool.values())
        backend = self._rng.choice([each for each in backends if each.id not in ("b1", "b5")])
        self._rng.choice(self._verbs(backend))(time.monotonic())

    def _verbs(self, backend: Backend) -> list[Callable[[float], object]]:
        rng = self._rng
        return [
            lambda now: backend.set_healthy(False, now),
            lambda now: backend.set_healthy(True, now),
            lambda now: backend.set_weight(rng.randint(0, 9), now, Origin.AGENT),
            lambda now: backend.set_admin(rng.choice(list(Admin)), now, Origin.API),
            lambda now: backend.set_admin(Admin.READY, now, Origin.API),
        ]


async def in_crowds(works: Iterator[Awaitable[None]], disturbance: Disturbance) -> None:
    """So many together, each followed by the next."""

    async def one_after_the_other() -> None:
        for work in works:
            await work
            disturbance.client_ended()

    async with asyncio.TaskGroup() as crowd:
        for _ in range(TOGETHER):
            crowd.create_task(one_after_the_other())


async def stress(
    ends: Ends, proxy: Proxy, udp_port: int, peers: list[Peer], udp_peers: list[UdpPeer]
) -> Disturbance:
    loop = asyncio.get_running_loop()
    disturbance = Disturbance(proxy, seed=8)
    servers = [await asyncio.start_server(ends.backend, sock=peer.listener) for peer in peers]
    for peer in udp_peers:
        peer.socket.setblocking(False)
        loop.add_reader(peer.socket, ends.datagrams, peer.socket)
    connections = (ends.client(proxy.port, number) for number in range(CONNECTIONS))
    sessions = (ends.session(udp_port, number) for number in range(SESSIONS))
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(in_crowds(connections, disturbance), in_crowds(sessions, disturbance))
    for peer in udp_peers:
        loop.remove_reader(peer.socket)
    for server in servers:
        server.close()
    return disturbance


def test_nothing_is_left_and_no_byte_is_wrong_after_thousands_of_ends(
    proxy: Callable[..., Proxy], peer: Callable[..., Peer], udp_peer: Callable[..., UdpPeer]
) -> None:
    peers, udp_peers = [peer() for _ in range(BACKENDS)], [udp_peer() for _ in range(BACKENDS)]
    udp_port = free_port()
    balancer = proxy(
        [*({"address": each.address, "max_connections": 24} for each in peers), *udp_peers],
        rules=[
            {
                "clients": ["0.0.0.0/0:PORT"],
                "targets": ["b1", "b2", "b3", "b4"],
                "strategy": {"type": "ketama", "key": "address_port"},
                "queue": {"max_waiting": TOGETHER},
                "live_connections": {"on_drain": "close_spread", "spread_s": 0.1},
            },
            {
                "clients": [f"0.0.0.0/0:{udp_port}"],
                "protocol": "udp",
                "targets": ["b5", "b6", "b7", "b8"],
                "udp": {"max_sessions": 2 * TOGETHER, "idle_timeout_ms": 500},
            },
        ],
    )
    ends = Ends()
    disturbance = asyncio.run(stress(ends, balancer, udp_port, peers, udp_peers))
    assert disturbance.done == (CONNECTIONS + SESSIONS) // PER_DISTURBANCE
    assert [what for what in ends.seen if "WRONG" in what] == []
    assert ends.seen["whole"] > CONNECTIONS / 3
    # A backend that is taken down takes with it what it was asked.
    assert ends.seen["answered"] > 5 * ends.seen["unanswered"]
    assert_completed_is_complete(ends, balancer)
    assert_rules_hold_nothing(balancer)


def assert_completed_is_complete(ends: Ends, balancer: Proxy) -> None:
    """Where the access log says so and neither end had spoilt it, both ends had all."""
    records = balancer.records(CONNECTIONS)
    assert len({record["id"] for record in records}) == len(records)
    times_used = Counter(record["client"] for record in records)  # a port may come again
    completed = {
        str(record["client"])
        for record in records
        if record["close_reason"] == "completed" and times_used[record["client"]] == 1
    }
    assert len(completed) > CONNECTIONS / 4
    assert [name for name in completed if not ends.whole.get(name, True)] == []
    assert {record["close_reason"] for record in records} >= {"completed", "client_reset"}
    assert "internal_error" not in {record["close_reason"] for record in records}


def assert_rules_hold_nothing(balancer: Proxy) -> None:
    server = balancer.server
    assert server is not None
    balancer.call(server.udp.abort_all)
    balancer.assert_nothing_left()
    for rule in server.rules:
        assert (len(rule.live), rule.admission.open, len(rule.queue or ())) == (0, 0, 0)
