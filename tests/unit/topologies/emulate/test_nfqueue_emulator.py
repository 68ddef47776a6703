import socket
import struct

import pytest

from tests.unit.topologies.emulate.nfqueue_messages import announced, timestamp
from topologies.emulate.nfqueue_emulator import Emulator
from topologies.emulate.nfqueue_schedule import Schedule
from topologies.shapes.shape import LinkSpec

_WALL_AHEAD_S = 1_700_000_000.0


class _Kernel:
    """The other end of the netlink socket, and the time."""

    def __init__(self, sock, spec):
        self._sock, mine = sock
        self.now = 100.0
        self.sent = []
        self.emulator = Emulator(
            mine,
            {0: Schedule(spec, 1, "c1->s1"), 1: Schedule(spec, 1, "s1->c1")},
            {0: "c1->s1", 1: "s1->c1"},
            {queue: self._copied(queue) for queue in (0, 1)} if spec.duplicate_pct else None,
            monotonic=lambda: self.now,
            wall=lambda: self.now + _WALL_AHEAD_S,
        )

    def _copied(self, queue):
        return lambda content: self.sent.append((queue, content, len(self.verdicts())))

    def queue(self, packet_id, *, queue=0, came_s=None, content=None):
        said = [] if came_s is None else [timestamp(came_s + _WALL_AHEAD_S)]
        said += [] if content is None else [(10, content)]
        self._sock.send(announced(packet_id, queue, *said))

    def step_at(self, now):
        self.now = now
        return self.emulator.step(now)

    def verdicts(self):
        """(queue, decision, packet id) of every verdict so far."""
        found = []
        while True:
            try:
                message = self._sock.recv(4096)
            except BlockingIOError:
                return found
            queue = struct.unpack_from("!H", message, 18)
            found.append((*queue, *struct.unpack("!II", message[24:])))


@pytest.fixture
def sockets():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        end.setblocking(False)
    yield pair
    for end in pair:
        end.close()


def test_a_packet_that_waited_to_be_read_is_not_held_for_longer(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10))
    kernel.queue(7, came_s=100.004)
    kernel.step_at(100.009)
    assert kernel.verdicts() == []
    kernel.step_at(100.014)
    assert kernel.verdicts() == [(0, 1, 7)]


def test_a_packet_that_another_queue_held_came_when_that_let_it_go(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10))
    kernel.queue(1, came_s=100.0)
    kernel.step_at(100.001)
    kernel.step_at(100.010)
    assert kernel.verdicts() == [(0, 1, 1)]
    kernel.queue(1, queue=1, came_s=100.0)  # with the stamp that it has kept
    assert kernel.step_at(100.010).due_s == pytest.approx(100.011)
    kernel.step_at(100.0199)
    assert kernel.verdicts() == []
    kernel.step_at(100.020)
    assert kernel.verdicts() == [(1, 1, 1)]


def test_packets_that_are_to_be_held_need_wake_nobody(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10))
    idle = kernel.step_at(100.0)
    assert idle.listen
    assert 100.0 < idle.due_s < 100.010
    kernel.queue(1, came_s=100.0)
    busy = kernel.step_at(100.0001)
    assert not busy.listen
    assert 100.0001 < busy.due_s < 100.002


@pytest.mark.parametrize(
    ("spec", "came_s"), [(LinkSpec(loss_pct=1), 100.0), (LinkSpec(delay_ms=10), None)]
)
def test_without_a_delay_or_a_stamp_every_packet_wakes_the_emulator(sockets, spec, came_s):
    kernel = _Kernel(sockets, spec)
    kernel.queue(1, came_s=came_s)
    assert kernel.step_at(100.0).listen


def test_what_is_left_of_a_batch_is_read_at_once(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10))
    for number in range(100):
        kernel.queue(number, came_s=100.0)
    assert kernel.step_at(100.0001).listen
    assert not kernel.step_at(100.0002).listen


def test_a_lost_packet_is_dropped_when_it_is_read(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10, loss_pct=100))
    kernel.queue(7, came_s=100.0)
    kernel.step_at(100.0001)
    assert kernel.verdicts() == [(0, 0, 7)]


def test_a_copy_is_sent_behind_its_packet_and_before_the_next(sockets):
    kernel = _Kernel(sockets, LinkSpec(delay_ms=10, duplicate_pct=100))
    for number, content in enumerate((b"first", b"second")):
        kernel.queue(number + 1, queue=1, came_s=100.0, content=content)
    kernel.step_at(100.001)
    assert kernel.sent == []
    kernel.step_at(100.010)
    # Each after one verdict more; none is left for the end.
    assert kernel.sent == [(1, b"first", 1), (1, b"second", 1)]
    assert kernel.verdicts() == []
    assert kernel.emulator.report()["s1->c1"]["duplicated"] == 2
