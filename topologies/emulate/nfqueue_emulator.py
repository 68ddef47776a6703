"""The queues of one switch: packets are taken from NFQUEUE, held, and let go on time.

Only netlink and its clock are here; when to let go is `nfqueue_schedule`, when to wake up and on
which processor `nfqueue_loop`.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from topologies.emulate import nfqueue_protocol as protocol
from topologies.emulate.nfqueue_schedule import BATCH, Fate, Schedule, arrival_s
from topologies.emulate.port import mac
from topologies.shapes.shape import LinkSpec

_SO_RCVBUFFORCE = 33
_SO_TIMESTAMP = 29
_RECEIVE_BUFFER_BYTES = 64 * 2**20
# 1 s of full frames at 2.4 Gbit/s.
_QUEUE_PACKETS = 200_000
_READ_WITHIN_S = 0.001
_IPV4 = b"\x08\x00"
_OVERFLOWS = Path("/proc/self/net/netfilter/nfnetlink_queue")

_VERDICTS = {Fate.LOST: protocol.NF_DROP, Fate.AHEAD: protocol.NF_ACCEPT}

Clock = Callable[[], float]
Exits = Mapping[int, Callable[[bytes], None]]
"""By queue number: sends a copy, given from its IP header on, to where the packet itself goes."""


class Plan(NamedTuple):
    """When the next step is due (monotonic s; None: only a packet brings the next), and whether a
    packet that arrives before must bring it forward."""

    due_s: float | None
    listen: bool


class Emulator:
    """All directions of one switch on one netlink socket.

    The kernel says when a packet came, so a packet that is to be held anyway wakes nobody: it is
    read when a release is due, at the latest `_READ_WITHIN_S` after it came. That saves a fifth of
    the wake-ups of a run. Where the kernel says nothing, every packet wakes the emulator.
    """

    def __init__(
        self,
        sock: socket.socket,
        schedules: dict[int, Schedule],
        names: dict[int, str],
        exits: Exits | None = None,
        *,
        monotonic: Clock = time.monotonic,
        wall: Clock = time.time,
    ) -> None:
        """`sock`: of `open_queues`; `schedules` and `names` by queue number; `exits` of those that
        are given whole packets to copy."""
        self._exits = exits or {}
        self._schedules = schedules
        self._names = names
        self._rows = [(queue, each, each.held) for queue, each in schedules.items()]
        self._stamped = True
        """The kernel says when packets came."""
        self._plan_reading()
        self._socket = sock
        self._monotonic, self._wall = monotonic, wall
        self._buffer = bytearray(protocol.BUFFER_BYTES)
        self._places = dict.fromkeys(schedules, 0)
        self._drained = False
        self._empty_s = self._released_s = monotonic()
        self._lost_before: dict[int, int] = {}

    def _plan_reading(self) -> None:
        self._hold_s = min(each.hold_s for each in self._schedules.values())
        self._may_wait = self._stamped and self._hold_s >= 2 * _READ_WITHIN_S

    def fileno(self) -> int:
        """Of the socket: readable when packets wait."""
        return self._socket.fileno()

    def step(self, woken_s: float) -> Plan:
        """Let go, take in, and say when to do so again.

        `woken_s`: when the first packet came, should it bring no time of its own.
        """
        self._release()
        self._receive(woken_s)
        due = self._release()
        if not (self._may_wait and self._drained):
            return Plan(due, listen=True)
        if due is None:
            return Plan(self._empty_s + self._hold_s - _READ_WITHIN_S, listen=True)
        return Plan(min(due, self._empty_s + _READ_WITHIN_S), listen=False)

    def _release(self) -> float | None:
        """Let go what is due; when the next is due (s), or None when nothing is held."""
        soonest = None
        now = self._released_s = self._monotonic()
        for queue, schedule, held in self._rows:
            if not held:
                continue
            last = schedule.release(now)
            if last is not None:
                self._socket.send(protocol.verdict_up_to(queue, last, protocol.NF_ACCEPT))
            if schedule.copies:
                self._release_copies(queue, schedule, now)
            if not held:
                continue
            due = held[0][0]
            if soonest is None or due < soonest:
                soonest = due
        return soonest

    def _release_copies(self, queue: int, schedule: Schedule, now: float) -> None:
        """Those that are due, each in its place among the packets."""
        while (copy := schedule.release_copy(now)) is not None:
            self._exits[queue](copy)
            last = schedule.release(now)
            if last is not None:
                self._socket.send(protocol.verdict_up_to(queue, last, protocol.NF_ACCEPT))

    def _receive(self, woken_s: float) -> None:
        """Take in at most a batch; without the kernel's word the first of it came at `woken_s`."""
        buffer, places, monotonic = self._buffer, self._places, self._monotonic
        ahead_s = self._wall() - monotonic()
        self._drained = False
        for _ in range(BATCH):
            now = monotonic()
            try:
                self._socket.recv_into(buffer)
            except BlockingIOError:
                self._drained, self._empty_s = True, now
                return
            found = protocol.packet(buffer)
            if found is None:
                continue
            queue, packet_id = found
            stamp_s = protocol.timestamp_s(buffer, places[queue])
            if stamp_s is None and (place := protocol.timestamp_place(buffer)) is not None:
                places[queue] = place
                stamp_s = protocol.timestamp_s(buffer, place)
            if stamp_s is None:
                self._stamped = self._may_wait = False
                came_s = woken_s
            else:
                came_s = arrival_s(stamp_s - ahead_s, self._empty_s, self._released_s, now)
            content = protocol.payload(buffer) if queue in self._exits else b""
            fate = self._schedules[queue].admit(packet_id, came_s, content)
            if fate is not Fate.HELD:
                self._socket.send(protocol.verdict(queue, packet_id, _VERDICTS[fate]))
            woken_s = now

    def change(self, specs: Mapping[str, LinkSpec]) -> None:
        """These directions, by name, do something else from now on."""
        for queue, schedule in self._schedules.items():
            if (spec := specs.get(self._names[queue])) is not None:
                schedule.change(spec)
        self._plan_reading()

    def restart_counts(self) -> None:
        """Count from now on."""
        self._lost_before = protocol.overflows(_OVERFLOWS.read_text())
        for schedule in self._schedules.values():
            schedule.restart_counts()

    def restart_draws(self) -> None:
        """Every direction draws from the beginning of its streams again."""
        for schedule in self._schedules.values():
            schedule.restart_draws()

    def report(self) -> dict[str, dict[str, Any]]:
        """The values of `DirectionCounters`, by direction."""
        lost = protocol.overflows(_OVERFLOWS.read_text())
        return {
            self._names[queue]: {
                "seen": schedule.seen,
                "dropped": schedule.dropped,
                "late": schedule.lateness.late,
                "overflow": lost.get(queue, 0) - self._lost_before.get(queue, 0),
                "reordered": schedule.reordered,
                "duplicated": schedule.duplicated,
                "bursts": schedule.bursts,
                **schedule.lateness.to_json(),
            }
            for queue, schedule in self._schedules.items()
        }


def open_queues(queues: Iterable[int], whole: Container[int] = ()) -> socket.socket:
    """A netlink socket that gets the metadata of the packets of `queues`, with their times, and of
    those in `whole` the packets as well; not blocking.

    Raises OSError where the kernel refuses.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol.NETLINK_NETFILTER)
    sock.bind((0, 0))
    for queue in queues:
        for message in (
            protocol.bind(queue),
            protocol.copy_packets(queue) if queue in whole else protocol.copy_metadata(queue),
            protocol.queue_length(queue, _QUEUE_PACKETS),
        ):
            sock.send(message)
            code = protocol.error(sock.recv(protocol.BUFFER_BYTES))
            if code:
                raise OSError(code, f"queue {queue}: {os.strerror(code)}")
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    # A full socket then loses packets and counts them, and does not fail the reads as well.
    sock.setsockopt(protocol.SOL_NETLINK, protocol.NETLINK_NO_ENOBUFS, 1)
    # Timestamps are taken while any socket of the machine wants them.
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMP, 1)
    sock.setblocking(False)
    return sock


def open_exit(interface: str) -> Callable[[bytes], None]:
    """Sends packets, from the IP header on, as frames through `interface`. Raises OSError.

    Between which hosts a frame goes stands in its packet: MAC addresses are made from IPv4's.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((interface, 0))

    def send(packet: bytes) -> None:
        header = mac(packet[16:20]) + mac(packet[12:16]) + _IPV4
        try:
            sock.send(header + packet)
        except OSError as error:
            # The queue before a rate is full: congestion, as with any packet.
            if error.errno != errno.ENOBUFS:
                raise

    return send
