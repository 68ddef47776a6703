"""The link emulator's process: takes packets from NFQUEUE, holds them, lets them go on time.

Runs inside a switch's namespace, started by `topologies.links.nfqueue` with the directions as JSON
in argv. One line in (`report` or `restart`), one line of JSON out. It ends when its input closes,
so it cannot outlive the run that started it.
"""

import ctypes
import gc
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from topologies.links import nfqueue_protocol as protocol
from topologies.links.nfqueue_schedule import Schedule
from topologies.shape import LinkSpec

_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 64 * 2**20
# 1 s of full frames at 2.4 Gbit/s.
_QUEUE_PACKETS = 200_000
# Packets taken in before the clock is looked at again: 64 take about 0.15 ms.
_BATCH = 64
_PRIORITY = 20
_PR_SET_TIMERSLACK = 29
_OVERFLOWS = Path("/proc/self/net/netfilter/nfnetlink_queue")


class Emulator:
    """All directions of one switch on one netlink socket; `run` returns when input closes."""

    def __init__(self, schedules: dict[int, Schedule], names: dict[int, str]) -> None:
        """Both by queue number. Binds the queues; OSError where the kernel refuses."""
        self._schedules = schedules
        self._names = names
        self._socket = _open_queues(schedules)
        self._buffer = bytearray(protocol.BUFFER_BYTES)

    def run(self, control: int) -> None:
        """Serve packets, and commands on the file descriptor `control`."""
        inputs = [self._socket.fileno(), control]
        while True:
            ready, _, _ = select.select(inputs, [], [], self._release())
            if control in ready and not self._obey(control):
                return
            self._receive()

    def _release(self) -> float | None:
        """Let go what is due; the time until the next is due (s), None when nothing is held."""
        verdicts = []
        soonest = None
        now = time.monotonic()
        for queue, schedule in self._schedules.items():
            last = schedule.release(now)
            if last is not None:
                verdicts.append(protocol.verdict_up_to(queue, last, protocol.NF_ACCEPT))
            due = schedule.next_due()
            if due is not None and (soonest is None or due < soonest):
                soonest = due
        for message in verdicts:
            self._socket.send(message)
        return None if soonest is None else max(0.0, soonest - time.monotonic())

    def _receive(self) -> None:
        """Take in what has arrived, at most a batch."""
        buffer = self._buffer
        for _ in range(_BATCH):
            try:
                self._socket.recv_into(buffer)
            except BlockingIOError:
                return
            arrival = protocol.packet(buffer)
            if arrival is None:
                continue
            queue, packet_id = arrival
            if not self._schedules[queue].admit(packet_id, time.monotonic()):
                self._socket.send(protocol.verdict(queue, packet_id, protocol.NF_DROP))

    def _obey(self, control: int) -> bool:
        """Answer the commands that arrived; False: the input was closed."""
        commands = os.read(control, 4096).decode().split()
        for command in commands:
            if command == "restart":
                for schedule in self._schedules.values():
                    schedule.restart()
            print(json.dumps(self._report()), flush=True)
        return bool(commands)

    def _report(self) -> dict[str, dict[str, Any]]:
        lost = protocol.overflows(_OVERFLOWS.read_text())
        return {
            self._names[queue]: {
                "seen": schedule.seen,
                "dropped": schedule.dropped,
                "late": schedule.lateness.late,
                "overflow": lost.get(queue, 0),
                "lateness_p99_ms": schedule.lateness.quantile_s(0.99) * 1e3,
                "lateness_max_ms": schedule.lateness.max_s * 1e3,
            }
            for queue, schedule in self._schedules.items()
        }


def _open_queues(queues: Iterable[int]) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol.NETLINK_NETFILTER)
    sock.bind((0, 0))
    for queue in queues:
        for message in (
            protocol.bind(queue),
            protocol.copy_metadata(queue),
            protocol.queue_length(queue, _QUEUE_PACKETS),
        ):
            sock.send(message)
            errno = protocol.error(sock.recv(protocol.BUFFER_BYTES))
            if errno:
                raise OSError(errno, f"queue {queue}: {os.strerror(errno)}")
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    # A full socket then loses packets and counts them, and does not fail the reads as well.
    sock.setsockopt(protocol.SOL_NETLINK, protocol.NETLINK_NO_ENOBUFS, 1)
    sock.setblocking(False)
    return sock


def _be_punctual() -> None:
    """Run before other programs, wake on time, and never stop to collect garbage."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.disable()


def main(argument: str) -> None:
    """Run with `argument` = {"seed": int, "directions": {name: {"queue": int, **LinkSpec}}}."""
    wanted = json.loads(argument)
    schedules, names = {}, {}
    for name, direction in wanted["directions"].items():
        queue = direction.pop("queue")
        names[queue] = name
        schedules[queue] = Schedule(LinkSpec(**direction), wanted["seed"], name)
    emulator = Emulator(schedules, names)
    _be_punctual()
    print("ready", flush=True)
    emulator.run(sys.stdin.fileno())


if __name__ == "__main__":
    main(sys.argv[1])
