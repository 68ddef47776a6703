"""The link emulator's process: takes packets from NFQUEUE, holds them, lets them go on time.

Runs inside a switch's namespace, started by `topologies.links.nfqueue` with the directions as JSON
in argv. One line in (`report`, `restart-counts` or `restart-draws`), one line of JSON out. It ends
when its input closes, so it cannot outlive the run that started it.
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
from topologies.links.nfqueue_schedule import BATCH, Schedule
from topologies.shape import LinkSpec

_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER_BYTES = 64 * 2**20
# 1 s of full frames at 2.4 Gbit/s.
_QUEUE_PACKETS = 200_000
_PRIORITY = 20
_MAX_LAG_S = 300e-6
_PR_SET_TIMERSLACK = 29
_OVERFLOWS = Path("/proc/self/net/netfilter/nfnetlink_queue")


class WakeLag:
    """How late this machine wakes a sleeping process, followed as a moving average (s).

    50 to 100 us here: the processor leaves its idle state, on a virtual machine with the
    hypervisor's help. The same for a timer as for an arriving packet, so the emulator gets up
    that much earlier, and takes a packet that woke it to have arrived that much earlier.
    """

    def __init__(self) -> None:
        """Start from a typical value; some dozen wake-ups correct it."""
        self.seconds = 80e-6

    def observe(self, seconds: float) -> None:
        """One sleep ended `seconds` after the time set for it."""
        self.seconds += 0.05 * (min(seconds, _MAX_LAG_S) - self.seconds)


class Emulator:
    """All directions of one switch on one netlink socket; `run` returns when input closes."""

    def __init__(self, schedules: dict[int, Schedule], names: dict[int, str]) -> None:
        """Both by queue number. Binds the queues; OSError where the kernel refuses."""
        self._schedules = schedules
        self._names = names
        self._rows = [(queue, each, each.held) for queue, each in schedules.items()]
        self._socket = _open_queues(schedules)
        self._buffer = bytearray(protocol.BUFFER_BYTES)
        self._lag = WakeLag()
        self._lost_before: dict[int, int] = {}

    def run(self, control: int) -> None:
        """Serve packets, and commands on the file descriptor `control`."""
        inputs = [self._socket.fileno(), control]
        while True:
            due = self._release()
            asleep = time.monotonic()
            sleep = None if due is None else max(0.0, due - asleep - self._lag.seconds)
            ready, _, _ = select.select(inputs, [], [], sleep)
            awake = time.monotonic()
            if not ready:
                if sleep:
                    self._lag.observe(awake - asleep - sleep)
                continue
            if control in ready and not self._obey(control):
                return
            self._receive(max(asleep, awake - self._lag.seconds))

    def _release(self) -> float | None:
        """Let go what is due; when the next is due (s), or None when nothing is held."""
        soonest = None
        now = time.monotonic()
        for queue, schedule, held in self._rows:
            if not held:
                continue
            last = schedule.release(now)
            if last is not None:
                self._socket.send(protocol.verdict_up_to(queue, last, protocol.NF_ACCEPT))
                if not held:
                    continue
            due = held[0][0]
            if soonest is None or due < soonest:
                soonest = due
        return soonest

    def _receive(self, arrived: float) -> None:
        """Take in at most a batch; the first of it arrived at `arrived`, the others as read."""
        buffer = self._buffer
        for _ in range(BATCH):
            try:
                self._socket.recv_into(buffer)
            except BlockingIOError:
                return
            arrival = protocol.packet(buffer)
            if arrival is None:
                continue
            queue, packet_id = arrival
            if not self._schedules[queue].admit(packet_id, arrived):
                self._socket.send(protocol.verdict(queue, packet_id, protocol.NF_DROP))
            arrived = time.monotonic()

    def _obey(self, control: int) -> bool:
        """Answer the commands that arrived; False: the input was closed."""
        commands = os.read(control, 4096).decode().split()
        for command in commands:
            if command == "restart-counts":
                self._restart_counts()
            elif command == "restart-draws":
                for schedule in self._schedules.values():
                    schedule.restart_draws()
            print(json.dumps(self._report()), flush=True)
        return bool(commands)

    def _restart_counts(self) -> None:
        self._lost_before = protocol.overflows(_OVERFLOWS.read_text())
        for schedule in self._schedules.values():
            schedule.restart_counts()

    def _report(self) -> dict[str, dict[str, Any]]:
        lost = protocol.overflows(_OVERFLOWS.read_text())
        return {
            self._names[queue]: {
                "seen": schedule.seen,
                "dropped": schedule.dropped,
                "late": schedule.lateness.late,
                "overflow": lost.get(queue, 0) - self._lost_before.get(queue, 0),
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
