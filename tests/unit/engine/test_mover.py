"""Every byte mover against the same contract, over real socket pairs."""

import errno
import os
import random
import socket
from contextlib import ExitStack, suppress

import pytest

from nginy.engine.movers import CHUNK_BYTES, TURN_BYTES, CopyMover, SpliceMover, Stop
from nginy.engine.pipes import LEAST_PIPE_BYTES, PIPE_BYTES, SPARE_PIPES, PipePool, pipes

MOVERS = [CopyMover, SpliceMover]


@pytest.fixture(params=MOVERS, ids=lambda mover: mover.__name__)
def way(request):
    """`(sender, mover, receiver)`: sender - source, mover, sink - receiver."""
    with ExitStack() as own:
        sender, source = map(own.enter_context, socket.socketpair())
        sink, receiver = map(own.enter_context, socket.socketpair())
        for sock in (source, sink, receiver):
            sock.setblocking(False)
        way = Way(sender, source, sink, receiver, request.param)
        own.callback(way.mover.close)
        yield way


class Way:
    def __init__(self, sender, source, sink, receiver, mover) -> None:
        self.sender, self.source, self.sink, self.receiver = sender, source, sink, receiver
        self.mover = mover(source, sink)

    def fill_sink(self) -> int:
        """Move into a sink nobody reads until it blocks; bytes sent in all."""
        self.sender.setblocking(False)
        sent = 0
        while True:
            with suppress(BlockingIOError):
                sent += self.sender.send(bytes(CHUNK_BYTES))
            if self.mover.move(False) is Stop.BLOCKED:
                return sent

    def received(self) -> bytes:
        pieces = []
        try:
            while piece := self.receiver.recv(1 << 20):
                pieces.append(piece)
        except BlockingIOError:
            pass
        return b"".join(pieces)


def test_moves_what_there_is(way):
    way.sender.sendall(b"hello")
    assert way.mover.move(False) is Stop.DRAINED
    assert way.received() == b"hello"
    assert way.mover.moved == 5


def test_nothing_to_move(way):
    assert way.mover.move(False) is Stop.DRAINED
    assert way.mover.moved == 0


def test_end_is_seen_after_the_last_bytes(way):
    way.sender.sendall(b"bye")
    way.sender.shutdown(socket.SHUT_WR)
    assert way.mover.move(True) is Stop.FIN
    assert way.received() == b"bye"


class Endless:
    """As a socket whose peer is as fast as we are."""

    def recv_into(self, buffer, size) -> int:
        return size


class Swallow:
    def send(self, data) -> int:
        return len(data)


def test_one_turn_of_copying_is_bounded():
    """A source that always has more does not keep the others waiting."""
    mover = CopyMover(Endless(), Swallow())
    assert mover.move(False) is Stop.UNFINISHED
    assert mover.moved == TURN_BYTES


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def no_spare_pipes():
    pipes.clear()
    yield
    pipes.clear()


@pytest.mark.usefixtures("no_spare_pipes")
@pytest.mark.parametrize("way", [CopyMover], indirect=True, ids=["both"])
def test_a_pipe_is_held_only_while_there_is_something_in_it(way):
    before = open_descriptors()
    way.mover = mover = way.mover.for_bulk()
    way.sender.sendall(bytes(1000))
    assert mover.move(False) is Stop.DRAINED
    assert mover.moved == 1000
    assert open_descriptors() == before + 2
    pipes.clear()
    assert open_descriptors() == before
    way.fill_sink()
    pipes.clear()
    assert open_descriptors() == before + 2, "the pipe has the rest"
    mover.close()
    mover.close()
    assert open_descriptors() == before


@pytest.mark.usefixtures("no_spare_pipes")
def test_a_mover_goes_from_copying_to_splicing_and_back(way):
    way.sender.sendall(b"copied")
    assert way.mover.move(False) is Stop.DRAINED
    bulk = way.mover.for_bulk()
    way.sender.sendall(b", spliced")
    assert bulk.move(False) is Stop.DRAINED
    messages = bulk.for_messages()
    way.sender.sendall(b", copied")
    assert messages.move(False) is Stop.DRAINED
    assert way.received() == b"copied, spliced, copied"
    assert [type(each) for each in (bulk, messages)] == [SpliceMover, CopyMover]
    assert messages.moved == 23


@pytest.mark.usefixtures("no_spare_pipes")
@pytest.mark.parametrize("lack", ["no descriptor", "no memory", "8 KiB"])
@pytest.mark.parametrize("way", [SpliceMover], indirect=True)
def test_without_a_pipe_of_some_size_it_copies(way, monkeypatch, lack):
    """Unprivileged, a user's 65th pipe of 1 MiB has 8 KiB."""

    def exhausted(*_: object) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    if lack == "no descriptor":
        monkeypatch.setattr(os, "pipe2", exhausted)
    elif lack == "no memory":
        monkeypatch.setattr("nginy.engine.pipes.fcntl.fcntl", exhausted)
    else:
        monkeypatch.setattr("nginy.engine.pipes.fcntl.fcntl", lambda *_: 8192)
    before = open_descriptors()
    with monkeypatch.context() as only:
        only.setattr(os, "splice", exhausted)
        way.sender.sendall(b"abc")
        assert way.mover.move(False) is Stop.DRAINED
    assert (way.received(), open_descriptors()) == (b"abc", before)


def test_a_pool_keeps_a_few_empty_pipes_and_no_other_ones():
    before = open_descriptors()
    pool = PipePool()
    taken = [pool.take() for _ in range(SPARE_PIPES + 3)]
    assert all(LEAST_PIPE_BYTES <= pipe.capacity_bytes <= PIPE_BYTES for pipe in taken)
    taken[0].bytes = 1
    for pipe in taken:
        pool.give_back(pipe)
    assert open_descriptors() == before + 2 * SPARE_PIPES
    assert all(pool.take() is not taken[0] for _ in range(SPARE_PIPES))
    for pipe in taken[1 : SPARE_PIPES + 1]:
        pipe.close()
    assert open_descriptors() == before


def test_full_sink_blocks_and_the_source_is_not_read_on(way):
    sent = way.fill_sink()
    moved = way.mover.moved
    with suppress(BlockingIOError):
        while True:
            sent += way.sender.send(bytes(CHUNK_BYTES))
    assert way.mover.move(False) is Stop.BLOCKED
    with pytest.raises(BlockingIOError):
        way.sender.send(b"x")  # still full: the mover took nothing
    assert way.mover.moved == moved
    assert sent > moved


def test_nothing_is_lost_or_reordered_over_a_slow_sink(way):
    payload = random.Random(1).randbytes(4 << 20)
    way.sender.setblocking(False)
    left = memoryview(payload)
    arrived = bytearray()
    flow = Stop.DRAINED
    while flow is not Stop.FIN:
        if left:
            with suppress(BlockingIOError):
                left = left[way.sender.send(left) :]
            if not left:
                way.sender.shutdown(socket.SHUT_WR)
        flow = way.mover.move(not left)
        if flow is Stop.BLOCKED or not left:
            arrived += way.received()
    arrived += way.received()
    assert bytes(arrived) == payload
    assert way.mover.moved == len(payload)


def test_lost_sink(way):
    way.receiver.close()
    way.sender.sendall(b"to nobody")
    assert way.mover.move(False) is Stop.SINK_LOST
    assert way.mover.moved == 0


def test_sink_lost_while_bytes_wait_for_it(way):
    way.fill_sink()
    way.receiver.close()
    assert way.mover.move(False) is Stop.SINK_LOST


def test_lost_source(way):
    way.source.send(b"unread")
    way.sender.close()  # with unread bytes: the other end sees a reset
    assert way.mover.move(True) is Stop.SOURCE_LOST


def test_a_short_read_after_the_end_was_announced_is_the_last_one():
    """One read, and not another one that would give nothing."""

    class Announced:
        reads = 0

        def recv_into(self, buffer: bytearray, size: int) -> int:
            self.reads += 1
            return 5 if self.reads == 1 else 0

    source = Announced()
    mover = CopyMover(source, Swallow())
    assert mover.move(True, fin_seen=True) is Stop.FIN
    assert (mover.moved, source.reads) == (5, 1)
