"""A socket pair on the precise loop: nothing is lost, the end is told once."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from experiments.hosts.precise_loop import new_precise_loop
from experiments.hosts.stream_socket import StreamSocket


class Side:
    """One end: what came, and how it ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.received = bytearray()
        self.ends: list[OSError | None] = []
        self.stream = StreamSocket(loop, sock, self.received.extend, self.ends.append)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_precise_loop()
    yield loop
    loop.close()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    for sock in (left, right):
        sock.setblocking(False)
    return left, right


def run_until(loop: asyncio.AbstractEventLoop, condition: object) -> None:
    """Turn the loop until `condition()` holds; fail after 10 s."""
    assert callable(condition)
    deadline_s = loop.time() + 10

    def check() -> None:
        if condition():
            loop.stop()
            return
        assert loop.time() < deadline_s
        loop.call_later(0.0005, check)

    loop.call_soon(check)
    loop.run_forever()


def test_more_than_the_kernel_takes_arrives_in_order(loop: asyncio.AbstractEventLoop) -> None:
    left, right = connected()
    data = bytes(range(256)) * 40_000
    sender = Side(loop, left)
    sender.stream.write(data)
    sender.stream.write(b"the end")
    receiver = Side(loop, right)
    run_until(loop, lambda: len(receiver.received) == len(data) + 7)
    assert receiver.received == data + b"the end"
    sender.stream.close()
    run_until(loop, lambda: receiver.ends)
    assert (receiver.ends, sender.ends) == ([None], [])


def test_an_error_is_told_once_and_nothing_after_it(loop: asyncio.AbstractEventLoop) -> None:
    left, right = connected()
    side = Side(loop, left)
    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    right.close()
    run_until(loop, lambda: side.ends)
    side.stream.write(b"nobody is there")
    side.stream.close()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(side.ends) == 1
    assert isinstance(side.ends[0], ConnectionResetError)


def test_nothing_is_told_after_close(loop: asyncio.AbstractEventLoop) -> None:
    left, right = connected()
    side = Side(loop, left)
    right.sendall(b"unread")
    side.stream.close()
    side.stream.close()
    right.close()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert (side.received, side.ends) == (b"", [])
    assert left.fileno() == -1
