"""Probes on real sockets: who is asked, which answers count, and which do not."""

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.prequal import Prequal
from nginy.balancer.round_robin import RoundRobin
from nginy.config.strategies import PrequalSettings, RoundRobinSettings
from nginy.watch.prober import Prober
from tests.scenario.watch.event_loop import run, until

CLIENT = Address("192.0.2.1", 40000)


class Peer:
    """A backend's side of probes, answered by hand."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind((host, 0))
        self.address = Address(host, self.sock.getsockname()[1])
        self.asked: list[tuple[int, Any]] = []

    def listen(self) -> bool:
        """Whether a probe came since."""
        before = len(self.asked)
        while True:
            try:
                data, source = self.sock.recvfrom(2048)
            except BlockingIOError:
                return len(self.asked) > before
            self.asked.append((json.loads(data)["probe"], source))

    def answer(self, in_flight: int, latency_ms: float, number: int | None = None) -> None:
        """To the last probe."""
        probe, source = self.asked[-1]
        answer = {"probe": number or probe, "in_flight": in_flight, "latency_ms": latency_ms}
        self.sock.sendto(json.dumps(answer).encode(), source)


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    made = [Peer(), Peer()]
    yield made
    for peer in made:
        peer.sock.close()


def prequal_over(peers: list[Peer]) -> tuple[Prequal, list[Backend]]:
    backends = [Backend(f"b{i}", peer.address) for i, peer in enumerate(peers)]
    balancer = Prequal(PrequalSettings(removed_per_pick=0.0), random.Random(1))
    balancer.rebuild(backends, 0.0)
    return balancer, backends


def probed(balancer: Prequal, backend: Backend) -> str:
    return balancer.scores(CLIENT, time.monotonic())[backend]


def started(balancer: Prequal, port: int | None = None, timeout_s: float = 1.0) -> Prober:
    prober = Prober([(balancer, port)], random.Random(2), timeout_s)
    prober.start()
    return prober


def test_answers_reach_the_algorithm(peers: list[Peer]) -> None:
    async def scene() -> None:
        balancer, backends = prequal_over(peers)
        with closing(started(balancer)) as prober:
            prober.tick(time.monotonic())
            await until(lambda: peers[0].listen() or bool(peers[0].asked))
            await until(lambda: peers[1].listen() or bool(peers[1].asked))
            peers[0].answer(3, 12.5)
            peers[1].answer(0, 1.5)
            await until(lambda: prober.outstanding == 0)
            assert "3 in flight, 12.5 ms" in probed(balancer, backends[0])
            assert "0 in flight, 1.5 ms" in probed(balancer, backends[1])

    run(scene())


def test_a_pick_probes_at_once(peers: list[Peer]) -> None:
    async def scene() -> None:
        balancer, _ = prequal_over(peers)
        with closing(started(balancer)) as prober:
            balancer.probes_due(time.monotonic())
            balancer.pick(CLIENT, time.monotonic())
            prober.after_pick(balancer, time.monotonic())
            await until(peers[0].listen)
            await until(peers[1].listen)

    run(scene())


def test_answers_of_others_late_ones_and_nonsense_do_not_count(peers: list[Peer]) -> None:
    async def scene() -> None:
        balancer, backends = prequal_over(peers)
        with closing(started(balancer)) as prober:
            prober.tick(time.monotonic())
            await until(lambda: peers[0].listen() or bool(peers[0].asked))
            await until(lambda: peers[1].listen() or bool(peers[1].asked))
            source = peers[0].asked[-1][1]
            # The right number from the wrong backend, a wrong number, no JSON.
            peers[1].answer(1, 1.0, number=peers[0].asked[-1][0])
            peers[0].answer(2, 1.0, number=123)
            peers[0].sock.sendto(b"\xff", source)
            peers[1].answer(5, 1.0)
            # Datagrams on loopback keep their order, so the others have been read by then.
            await until(lambda: "5 in flight" in probed(balancer, backends[1]))
            assert probed(balancer, backends[0]) == "no fresh answer"
            assert prober.outstanding == 1
            prober.tick(time.monotonic() + 2.0)
            sent_later = prober.outstanding
            peers[0].answer(9, 1.0)
            peers[1].listen()
            peers[1].answer(6, 1.0)
            await until(lambda: "6 in flight" in probed(balancer, backends[1]))
            assert probed(balancer, backends[0]) == "no fresh answer"
            assert prober.outstanding == sent_later - 1

    run(scene())


def test_the_probe_port_and_ipv6() -> None:
    async def scene() -> None:
        peer = Peer("::1")
        backends = [Backend(name, Address("::1", 9)) for name in ("one", "other")]
        balancer = Prequal(PrequalSettings(), random.Random(1))
        balancer.rebuild(backends, 0.0)
        with closing(peer.sock), closing(started(balancer, peer.address.port)) as prober:
            prober.tick(time.monotonic())
            await until(lambda: peer.listen() or bool(peer.asked))
            peer.answer(4, 2.0)
            await until(lambda: any("4 in flight" in probed(balancer, one) for one in backends))

    run(scene())


def test_who_cannot_be_probed_is_not(peers: list[Peer]) -> None:
    async def scene() -> None:
        backends = [
            Backend("unix", Address("/run/no.sock", 0)),
            Backend("name", Address("web.example", 80)),
            Backend("b0", peers[0].address),
        ]
        balancer = Prequal(PrequalSettings(), random.Random(1))
        balancer.rebuild(backends, 0.0)
        with closing(started(balancer)) as prober:
            prober.tick(time.monotonic())
            await until(peers[0].listen)
            assert prober.outstanding == 1

    run(scene())


def test_algorithms_without_probes_need_no_sockets() -> None:
    async def scene() -> None:
        balancer = RoundRobin(RoundRobinSettings(), random.Random(1))
        prober = Prober([(balancer, None)], random.Random(2))
        prober.start()
        prober.tick(1.0)
        prober.after_pick(balancer, 1.0)
        assert prober.outstanding == 0
        prober.close()

    run(scene())
