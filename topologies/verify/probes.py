"""Stamped datagrams over many directions at once: which of them arrive, and how long each took.

The sockets of all hosts are in this one process: a socket stays in the namespace that its thread
was in when it was made (setns(2)). All hosts share one kernel and so one clock, and the arrival is
stamped by the kernel as the packet leaves the wire, so a one-way delay is exact and this process's
own wake-ups are not in it.
"""

import ctypes
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import heapify, heapreplace

from topologies.errors import NetworkError

_CLONE_NEWNET = 0x40000000
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 4 * 2**20
_STAMP = struct.Struct("!Qq")
_TIMESPEC = struct.Struct("@ll")
_FIRST_PORT = 20_000
_LAST_WAIT_S = 0.3
"""For what is still under way beyond its delay."""


@dataclass(frozen=True, slots=True)
class Probes:
    """What is sent over one way: `count` datagrams, one every `interval_s`."""

    sender_pid: int
    receiver_pid: int
    address: str
    """The receiver's."""
    count: int
    interval_s: float
    delay_s: float
    """So long after it was sent the last one may still be under way."""
    doubled: bool = False
    """Copies may come, also when all have."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One datagram: its number, from 0, and its one-way delay."""

    number: int
    delay_ms: float


def send_probes(wanted: Mapping[str, Probes]) -> dict[str, list[Arrival]]:
    """By name, what arrived of each, in the order of arrival. Raises NetworkError."""
    if not wanted:
        return {}
    with ExitStack() as own:
        receivers: dict[int, str] = {}
        sockets: dict[str, socket.socket] = {}
        senders: dict[str, socket.socket] = {}
        for place, (name, probes) in enumerate(wanted.items()):
            port = _FIRST_PORT + place
            receiver = own.enter_context(_inside(probes.receiver_pid, _receiver(port)))
            target = probes.address, port
            senders[name] = own.enter_context(_inside(probes.sender_pid, _sender(target)))
            sockets[name], receivers[receiver.fileno()] = receiver, name
        return _Exchange(wanted, senders, sockets, receivers).run()


class _Exchange:
    def __init__(
        self,
        wanted: Mapping[str, Probes],
        senders: Mapping[str, socket.socket],
        receivers: Mapping[str, socket.socket],
        names: Mapping[int, str],
    ) -> None:
        self._wanted, self._senders, self._receivers, self._names = (
            wanted,
            senders,
            receivers,
            names,
        )
        self._arrivals: dict[str, list[Arrival]] = {name: [] for name in wanted}
        self._poll = select.epoll()
        for receiver in receivers.values():
            self._poll.register(receiver, select.EPOLLIN)

    def run(self) -> dict[str, list[Arrival]]:
        with self._poll:
            start_s = time.monotonic()
            due = [(start_s + place * 1e-4, 0, name) for place, name in enumerate(self._wanted)]
            heapify(due)
            while due[0][0] < float("inf"):
                at_s, number, name = due[0]
                self._read_until(at_s)
                stamp = _STAMP.pack(number, time.monotonic_ns())
                self._senders[name].send(stamp)
                probes = self._wanted[name]
                last = number + 1 >= probes.count
                heapreplace(
                    due, (float("inf") if last else at_s + probes.interval_s, number + 1, name)
                )
            longest_s = max(probes.delay_s for probes in self._wanted.values())
            self._read_until(time.monotonic() + longest_s + _LAST_WAIT_S)
        return self._arrivals

    def _read_until(self, until_s: float) -> None:
        """Take what arrives; in the end no earlier than all has, if that is before."""
        while (left_s := until_s - time.monotonic()) > 0 and not self._complete():
            for descriptor, _ in self._poll.poll(left_s):
                name = self._names[descriptor]
                self._arrivals[name] += _read(self._receivers[name])

    def _complete(self) -> bool:
        return all(
            not probes.doubled and len(self._arrivals[name]) >= probes.count
            for name, probes in self._wanted.items()
        )


def _read(receiver: socket.socket) -> list[Arrival]:
    found: list[Arrival] = []
    while True:
        try:
            data, control, _, _ = receiver.recvmsg(64, 64)
        except BlockingIOError:
            return found
        seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])
        ahead_ns = time.time_ns() - time.monotonic_ns()
        number, sent_ns = _STAMP.unpack_from(data)
        arrived_ns = seconds * 10**9 + nanoseconds - ahead_ns
        found.append(Arrival(number, (arrived_ns - sent_ns) / 1e6))


def _receiver(port: int) -> Callable[[], socket.socket]:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("", port))
        return sock

    return make


def _sender(target: tuple[str, int]) -> Callable[[], socket.socket]:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(target)
        return sock

    return make


def _inside(pid: int, make: Callable[[], socket.socket]) -> socket.socket:
    """What `make` makes while its thread, which ends then, is in the network namespace of `pid`."""
    made: list[socket.socket] = []
    problems: list[OSError] = []

    def enter() -> None:
        try:
            with open(f"/proc/{pid}/ns/net", "rb") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
            made.append(make())
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if problems:
        raise NetworkError(f"probes: {problems[0]}") from problems[0]
    return made[0]


def first_of_each(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Without copies of those that came before."""
    found: dict[int, Arrival] = {}
    for arrival in arrivals:
        found.setdefault(arrival.number, arrival)
    return list(found.values())


def overtaken(arrivals: Sequence[Arrival]) -> int:
    """How many arrived before one that was sent earlier."""
    ahead, least = 0, float("inf")
    for arrival in reversed(arrivals):
        ahead += arrival.number > least
        least = min(least, arrival.number)
    return ahead
