"""A relay with a rate, under a hand-set clock: pauses are no silence."""

import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from nginy.engine.movers import CopyMover
from nginy.engine.poller import READABLE, Poller
from nginy.engine.timers import TimerWheel
from nginy.tcp.relay import Relay
from nginy.traffic.rate import Rates
from nginy.traffic.rule import Limits

BYTES_PER_S = 5
IDLE_S = 1.0


@pytest.fixture
def own():
    with ExitStack() as stack:
        yield stack


def test_the_idle_time_begins_when_the_last_pause_is_over(own):
    clock = SimpleNamespace(now=100.0)
    sender, client = map(own.enter_context, socket.socketpair())
    upstream, receiver = map(own.enter_context, socket.socketpair())
    for sock in (client, upstream):
        sock.setblocking(False)
    poller = Poller(lambda callback: None)
    own.callback(poller.shut)
    poller.now = clock.now  # of its last turn, and there is no other one
    wheel = TimerWheel(0.05, clock.now)
    limits = Limits(IDLE_S, IDLE_S, IDLE_S)
    rates = Rates(BYTES_PER_S, 0.0)
    relay = Relay(
        poller,
        wheel,
        client,
        upstream,
        CopyMover,
        limits,
        rates,
        lambda: clock.now,
        clock.now,
        lambda now: None,
    )
    ends = []
    sender.sendall(b"x" * 3 * BYTES_PER_S)
    relay.start(READABLE, 0, ends.append)
    assert relay.up.mover.moved == BYTES_PER_S

    for _ in range(60):
        clock.now += 0.05
        wheel.advance(clock.now)
        if relay.up.mover.moved == 3 * BYTES_PER_S and relay.up.pause is None:
            break
    assert clock.now >= 102.0
    assert len(receiver.recv(100)) == 3 * BYTES_PER_S
    assert relay.check(clock.now + 0.9 * IDLE_S) is not None
    assert ends == []
    assert relay.check(clock.now + 1.1 * IDLE_S) is None
    assert len(ends) == 1
