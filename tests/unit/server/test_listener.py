"""A listener out of descriptors: it pauses, and goes on whatever happens then."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from nginy.address import Address
from nginy.engine.poller import DISPATCH_S, Poller
from nginy.engine.timers import TimerWheel
from nginy.server.listener import ACCEPT_S, FALLBACK_S, Listener
from nginy.server.sockets import bind

HOST = "127.0.0.1"


class World:
    """A listener with its poller, turned by hand, and a client that waits to be accepted."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.accepted: list[socket.SocketType] = []
        self.wheel = TimerWheel(0.05, poller.now)
        sock = bind("tcp", Address(HOST, 0))
        address = Address(*sock.getsockname())
        self.listener = Listener(sock, address, poller, self.wheel, self._accept)
        self.client = socket.create_connection(address)

    def _accept(self, client: socket.SocketType, _peer: Address, _listener: Address) -> None:
        self.accepted.append(client)

    def pass_time(self, seconds: float) -> None:
        self.wheel.advance(self.poller.now + seconds)
        self.poller.dispatch()

    def close(self) -> None:
        self.client.close()
        self.listener.close()
        for client in self.accepted:
            client.close()
        self.poller.shut()


@pytest.fixture
def world() -> Iterator[World]:
    made = World(Poller(lambda _callback: None))
    yield made
    made.close()


@contextmanager
def no_descriptor_above(spare: int) -> Iterator[None]:
    """Only `spare` more can be opened by this process."""
    free = [os.dup(0) for _ in range(spare + 1)]
    for descriptor in free:
        os.close(descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("spare", [0, 1])
def test_it_waits_for_a_close_and_goes_on_at_once(world, spare):
    """With one spare descriptor, there is none towards the client's backend."""
    other = socket.socket()
    with no_descriptor_above(spare):
        world.poller.dispatch()
        assert world.accepted == []
        with pytest.raises(OSError, match="Too many"):
            os.dup(0)
    world.poller.close(other)
    world.poller.dispatch()
    world.poller.dispatch()
    assert len(world.accepted) == 1


def test_without_a_close_it_goes_on_after_a_while(world):
    with no_descriptor_above(0):
        world.poller.dispatch()
        world.pass_time(FALLBACK_S + 0.1)
        assert world.accepted == []
    world.pass_time(2 * FALLBACK_S + 0.2)
    assert len(world.accepted) == 1
    assert len(world.wheel) == 0


def test_going_on_that_fails_is_tried_again():
    class Unwilling(Poller):
        refusals = 0

        def watch_listener(self, sock, handler) -> None:
            if self.refusals:
                self.refusals -= 1
                raise OSError(28, "No space left on device")
            super().watch_listener(sock, handler)

    poller = Unwilling(lambda _callback: None)
    world = World(poller)
    try:
        with no_descriptor_above(0):
            world.poller.dispatch()
        poller.refusals = 1
        world.pass_time(FALLBACK_S + 0.1)
        assert (poller.refusals, world.accepted) == (0, [])
        world.pass_time(2 * FALLBACK_S + 0.2)
        assert len(world.accepted) == 1
    finally:
        world.close()


def test_closed_in_the_pause_it_hands_over_whom_it_had_accepted(world):
    with no_descriptor_above(1):
        world.poller.dispatch()
    world.listener.close()
    assert len(world.accepted) == 1
    assert len(world.wheel) == 0


def test_a_crowd_is_let_in_for_a_millisecond_at_a_time():
    """Who is connected already has his turn in between."""
    now = 0.0
    accepted: list[socket.SocketType] = []

    def serve(client: socket.SocketType, _peer: Address, _listener: Address) -> None:
        nonlocal now
        now += 0.0009
        accepted.append(client)

    with ExitStack() as own:
        poller = Poller(lambda _callback: None, lambda: now)
        own.callback(poller.shut)
        sock = bind("tcp", Address(HOST, 0))
        address = Address(*sock.getsockname())
        wheel = TimerWheel(0.05, poller.now)
        listener = Listener(sock, address, poller, wheel, serve, lambda: now)
        own.callback(listener.close)
        for _ in range(10):
            own.enter_context(socket.create_connection(address))
        poller.dispatch()
        assert now <= DISPATCH_S + ACCEPT_S + 0.0009
        while len(accepted) < 10:
            poller.dispatch()
        for client in accepted:
            client.close()
