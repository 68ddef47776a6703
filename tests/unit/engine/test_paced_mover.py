"""Movers at a rate: real sockets, a hand-set clock."""

import random
import socket
from contextlib import ExitStack, suppress

import pytest

from nginy.engine.movers import CopyMover, Mover, PacedMover, SpliceMover, Stop
from nginy.traffic.rate import TokenBucket

RATE = 100_000.0


class Way:
    """sender -> source | mover | sink -> receiver"""

    def __init__(self, own: ExitStack, make) -> None:
        self.sender, source = map(own.enter_context, socket.socketpair())
        sink, self.receiver = map(own.enter_context, socket.socketpair())
        for sock in (self.sender, source, sink, self.receiver):
            sock.setblocking(False)
        self.now = 0.0
        bucket = TokenBucket(RATE, RATE, self.now)
        self.inner: Mover = make(source, sink)
        self.mover = PacedMover(self.inner, bucket, lambda: self.now)
        own.callback(self.mover.close)

    def received(self) -> bytes:
        pieces = []
        with suppress(BlockingIOError):
            while piece := self.receiver.recv(1 << 16):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture(params=[CopyMover, SpliceMover], ids=lambda make: make.__name__)
def way(request):
    with ExitStack() as own:
        yield Way(own, request.param)


def test_within_the_bucket_nothing_is_held_back(way):
    way.sender.sendall(b"x" * 1000)
    assert way.mover.move(False) is Stop.DRAINED
    assert way.received() == b"x" * 1000


def test_the_bound_is_kept_at_every_moment_and_all_arrives(way):
    payload = random.Random(1).randbytes(500_000)
    left, arrived, flow = memoryview(payload), bytearray(), Stop.DRAINED
    while flow is not Stop.FIN:
        with suppress(BlockingIOError):
            while left:
                left = left[way.sender.send(left) :]
        if not left:
            with suppress(OSError):
                way.sender.shutdown(socket.SHUT_WR)
        flow = way.mover.move(not left)
        arrived += way.received()
        assert len(arrived) <= way.mover.taken <= RATE + RATE * way.now
        way.now += 0.05
        assert way.now < 10
    assert bytes(arrived) == payload
    assert way.now >= len(payload) / RATE - 1
    assert way.now <= len(payload) / RATE - 1 + 0.2


def test_an_empty_bucket_still_delivers_what_was_read(way):
    """The sink was full when it was read."""
    sink_bytes = 0
    while way.mover.move(False) is not Stop.BLOCKED:
        with suppress(BlockingIOError):
            way.sender.send(b"x" * 50_000)
        way.now += 1.0
    sink_bytes = len(way.received())
    taken = way.mover.taken
    assert taken > sink_bytes
    with suppress(BlockingIOError):
        way.sender.send(b"y" * 50_000)
    way.mover._bucket.spend(way.mover._bucket.available(way.now))
    flow = way.mover.move(False)
    assert flow is Stop.PACED
    assert way.mover.moved == way.mover.taken == taken
    assert len(way.received()) == taken - sink_bytes


def test_a_limit_is_kept_by_the_mover_itself(way):
    way.sender.sendall(b"x" * 1000)
    assert way.inner.move(False, 300) is Stop.UNFINISHED
    assert way.received() == b"x" * 300
    assert way.inner.move(False, 0) is Stop.UNFINISHED
    assert way.inner.move(False, 5000) is Stop.DRAINED
    assert way.received() == b"x" * 700
