"""Links by NFQUEUE: each impaired direction's packets wait in a queue until our emulator says go.

The queues sit at the switches' ports and take packets from their sender's socket; on the sending
host's own egress, waiting packets would count against TCP's small-queue limit and throttle it. What
a switch sends passes its queue before its rate's (`rate.py`).
Without `--queue-bypass`: a dead emulator stops the link; it never lets packets through unimpaired.
IPv4 only, as the hosts are.

NFQUEUE lets packets go or drops them, and has no way to copy one. Of a direction that doubles
packets the emulator is given the packets as well as what is known of them, and sends the copies
itself: where a switch sends, through the port, behind the queue; where a host does, into the switch
through a port of their own, since each copy has its way, and the links on it, before it.
"""

import contextlib
import json
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from topologies.emulate.method import DirectionCounters
from topologies.emulate.port import Port
from topologies.emulate.rate import limit_switch
from topologies.errors import LinkDead
from topologies.machine import tuning
from topologies.machine.namespaces import await_carrier, execute
from topologies.shapes.shape import LinkSpec

_ANSWER_WITHIN_S = 5.0
_SIDE_DOOR = "copies"
_ROOT = Path(__file__).resolve().parents[2]

Popen = Callable[..., "subprocess.Popen[Any]"]


class NfqueueLinks:
    """The emulators of a network, one process per switch that has impaired links."""

    name = "nfqueue"
    seeded = True

    def __init__(self, ports: tuple[Port, ...], seed: int, popen: Popen) -> None:
        """Start the emulators, then send the packets to them."""
        self._emulators = []
        try:
            emulated = [Direction(port, name) for port in ports for name in port.emulated]
            for pid in sorted({direction.pid for direction in emulated}):
                here = [direction for direction in emulated if direction.pid == pid]
                self._emulators.append(_Emulator(pid, here, seed, popen))
            for port in ports:
                limit_switch(port)
        except BaseException:
            self.stop()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """One emulator per switch."""
        return tuple(emulator.pid for emulator in self._emulators)

    def counters(self) -> dict[str, DirectionCounters]:
        """As the emulators count them."""
        return {
            name: DirectionCounters(**values)
            for emulator in self._emulators
            for name, values in emulator.ask("report").items()
        }

    def restart_counts(self) -> None:
        """Count from now on."""
        for emulator in self._emulators:
            emulator.ask("restart-counts")

    def restart_draws(self) -> None:
        """Every direction draws from the beginning of its streams again."""
        for emulator in self._emulators:
            emulator.ask("restart-draws")

    def change(self, port: Port, specs: Mapping[str, LinkSpec]) -> None:
        """Tell the emulators of the switches."""
        for emulator in self._emulators:
            values = {name: asdict(specs[name]) for name in specs if name in emulator.directions}
            if values:
                emulator.ask(f"change {json.dumps(values, separators=(',', ':'))}")

    def check_alive(self) -> None:
        """Ask every emulator for an answer."""
        self.counters()

    def stop(self) -> None:
        """Close the emulators' inputs, on which they end."""
        for emulator in self._emulators:
            emulator.stop()


class _Emulator:
    def __init__(self, pid: int, directions: "list[Direction]", seed: int, popen: Popen) -> None:
        self.directions = frozenset(each.name for each in directions)
        self._links = ", ".join(dict.fromkeys(each.port.link.name for each in directions))
        self._lock = threading.Lock()
        if any(each.side_door for each in directions):
            _open_side_door(pid)
        pipe = subprocess.PIPE
        argv = [
            sys.executable,
            "-m",
            "topologies.emulate.nfqueue_loop",
            _arguments(directions, seed),
        ]
        self._process = popen(
            pid, "link emulator", argv, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        try:
            self._answer()
            tuning.set_sysctls(pid, {"net.bridge.bridge-nf-call-iptables": "1"})
            execute(pid, ["iptables-restore", "-w", "5", "--noflush"], text=rules(directions))
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def ask(self, command: str) -> dict[str, Any]:
        with self._lock:
            try:
                self._process.stdin.write(f"{command}\n")  # type: ignore[union-attr]
                self._process.stdin.flush()  # type: ignore[union-attr]
            except (BrokenPipeError, ValueError):
                raise self._dead("is gone") from None
            answer: dict[str, Any] = json.loads(self._answer())
            return answer

    def _answer(self) -> str:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], _ANSWER_WITHIN_S)
        line = out.readline() if ready else ""
        if not line:
            raise self._dead("is gone" if ready else f"gave no answer in {_ANSWER_WITHIN_S:g} s")
        return str(line)

    def _dead(self, what: str) -> LinkDead:
        code = self._process.poll()
        said = "" if code is None else self._process.stderr.read()[-500:]  # type: ignore[union-attr]
        return LinkDead(f"the emulator of links {self._links} {what} (exit code {code}) {said}")

    def stop(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a question it died before reading
                    stream.close()
        try:
            self._process.wait(_ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Direction(NamedTuple):
    """One that is emulated; queue numbers are places in lists of these."""

    port: Port
    name: str

    @property
    def pid(self) -> int:
        """In whose namespace: of the switch that sends it, or that gets it from a host."""
        place = self.port.egress(self.name)
        return place[0] if place else self.port.switch_pid

    @property
    def side_door(self) -> bool:
        """Whether copies of its packets must come into the switch."""
        doubles = self.port.link.specs[self.name].duplicate_pct > 0
        return doubles and self.port.egress(self.name) is None

    @property
    def exit(self) -> str | None:
        """The interface for copies of its packets; None where there are none to be."""
        if self.port.link.specs[self.name].duplicate_pct == 0:
            return None
        place = self.port.egress(self.name)
        return place[1] if place else _SIDE_DOOR


def _open_side_door(pid: int) -> None:
    """One more port of the switch: what is sent through `_SIDE_DOOR` comes in there, and goes on as
    if a host had sent it."""
    bridges = json.loads(execute(pid, ["ip", "-j", "link", "show", "type", "bridge"]))
    inside = f"{_SIDE_DOOR}in"
    commands = [
        f"ip link add {_SIDE_DOOR} type veth peer name {inside}",
        f"ip link set {inside} master {bridges[0]['ifname']}",
        f"bridge link set dev {inside} learning off flood off mcast_flood off bcast_flood off",
        f"ip link set {_SIDE_DOOR} up",
        f"ip link set {inside} up",
    ]
    for command in commands:
        execute(pid, command.split())
    await_carrier(pid)


def _arguments(directions: list[Direction], seed: int) -> str:
    specs = {
        each.name: {"queue": queue, "exit": each.exit} | asdict(each.port.link.specs[each.name])
        for queue, each in enumerate(directions)
    }
    return json.dumps({"seed": seed, "directions": specs})


def rules(directions: list[Direction]) -> str:
    """The switch's iptables rules, in the form of iptables-restore.

    FORWARD and not POSTROUTING: beyond it the kernel does not say when a packet came.
    """
    lines = ["*mangle"]
    for queue, (port, name) in enumerate(directions):
        place = port.egress(name)
        if place is None:
            where = f"PREROUTING -m physdev --physdev-in {port.switch_interface}"
        else:
            where = f"FORWARD -m physdev --physdev-is-bridged --physdev-out {place[1]}"
        lines.append(f"-A {where} -j NFQUEUE --queue-num {queue}")
    return "\n".join([*lines, "COMMIT", ""])
