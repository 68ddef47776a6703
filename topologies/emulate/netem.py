"""Links by the kernel's netem.

What a switch sends: netem on its port, the link's rate as its child. From host to switch: what
comes in at the port is redirected to an ifb device with netem, so that the delay is not on
the sending host, where waiting packets would count against TCP's small-queue limit.

The same meaning as in `nfqueue_schedule`: jitter is uniform in delay ± jitter (netem without a
distribution table), and no packet overtakes another. netem would let them; with a `rate` it counts
every packet's time from the end of the one before (sch_netem.c, netem_enqueue), and at a rate of
100 Gbit/s that costs 0.1 us and leaves only the order. The losses come from `seed` where iproute2
and kernel know the option (iproute2 6.6, Linux 6.6 and later); otherwise they differ each run.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from topologies.emulate.method import DirectionCounters
from topologies.emulate.port import Port
from topologies.emulate.rate import limit_switch
from topologies.errors import LinkDead, NetworkError
from topologies.machine.namespaces import execute
from topologies.shapes.shape import LinkSpec

_LIMIT = 1_000_000_000
"""Packets: more than memory holds. netem has one counter for what it loses on purpose and what
exceeds its limit, so nothing may exceed it; only the rate's queue can overflow, and that counts
for itself. What is under way is bounded by the rate, or by the senders' windows."""
_ORDER_KEEPING_RATE = "100gbit"


class NetemLinks:
    """netem on every impaired direction of a network."""

    name = "netem"
    pids = ()

    def __init__(self, ports: tuple[Port, ...], seed: int) -> None:
        """Set up all links of `ports`; NetworkError with tc's words where one is refused."""
        self._seed = seed
        self.seeded = True
        self._places: dict[str, tuple[Port, int, str]] = {}
        """Pid and device of each direction's netem."""
        self._before: dict[str, DirectionCounters] = {}
        for port in ports:
            for direction in port.emulated:
                place = port.egress(direction) or self._ingress(port)
                self._places[direction] = (port, *place)
                self._netem(direction)
            limit_switch(port, below=port.emulated)
        self.restart_counts()

    def _ingress(self, port: Port) -> tuple[int, str]:
        """A device that gets what comes in at the switch's port."""
        pid, device = port.switch_pid, f"{port.switch_interface}i"
        execute(pid, ["ip", "link", "add", device, "type", "ifb"])
        execute(pid, ["ip", "link", "set", device, "up"])
        _tc(pid, f"qdisc add dev {port.switch_interface} ingress")
        _tc(
            pid,
            f"filter add dev {port.switch_interface} parent ffff: protocol all prio 1 "
            f"matchall action mirred egress redirect dev {device}",
        )
        return pid, device

    def _netem(self, direction: str) -> None:
        port, pid, device = self._places[direction]
        words = (
            f"qdisc add dev {device} root handle 1: netem {words_for(port.link.specs[direction])}"
        )
        try:
            _tc(pid, f"{words} {self._seed_words(direction)}")
        except NetworkError:
            self.seeded = False
            _tc(pid, words)

    def _seed_words(self, direction: str) -> str:
        return f"seed {_seed_of(self._seed, direction)}"

    def counters(self) -> dict[str, DirectionCounters]:
        """From the qdiscs. Raises LinkDead where one is gone."""
        return {name: self._count(name) for name in self._places}

    def _count(self, direction: str) -> DirectionCounters:
        port, pid, device = self._places[direction]
        shown = json.loads(_tc(pid, f"-s -j qdisc show dev {device}"))
        qdiscs = {qdisc["kind"]: qdisc for qdisc in shown}
        if "netem" not in qdiscs:
            raise LinkDead(f"link {port.link.name}: the netem qdisc of {direction} is gone")
        return _difference(counted(qdiscs), self._before.get(direction, DirectionCounters()))

    def restart_counts(self) -> None:
        """Count from now on."""
        self._before = {}
        self._before = self.counters()

    def restart_draws(self) -> None:
        """A change that repeats all settings and the seed starts netem's generator from that seed
        (sch_netem.c, netem_change); where the option is not known, the draws go on."""
        if not self.seeded:
            return
        for direction, (port, pid, device) in self._places.items():
            words = f"netem {words_for(port.link.specs[direction])} {self._seed_words(direction)}"
            _tc(pid, f"qdisc change dev {device} root handle 1: {words}")

    def change(self, port: Port, specs: Mapping[str, LinkSpec]) -> None:
        """A change that names no seed leaves the generator where it is (sch_netem.c)."""
        for direction, spec in specs.items():
            _, pid, device = self._places[direction]
            self._places[direction] = port, pid, device
            _tc(pid, f"qdisc change dev {device} root handle 1: netem {words_for(spec)}")

    def check_alive(self) -> None:
        """Nothing: a qdisc does not die by itself, and `counters`, asked at the end of every run,
        says so if one is gone. Asked ten times a second under load, tc would be load of its own."""

    def stop(self) -> None:
        """Nothing to end: qdiscs die with their namespace."""


def words_for(spec: LinkSpec) -> str:
    """netem's own words for a link."""
    words = [f"limit {_LIMIT}"]
    words.append(f"delay {round(spec.delay_ms * 1e3)}us")
    if spec.jitter_ms:
        words.append(f"{round(spec.jitter_ms * 1e3)}us")
    if spec.loss_burst_packets is not None:
        ends = 1 / spec.loss_burst_packets
        begins = ends * spec.loss_pct / (100 - spec.loss_pct)
        words.append(f"loss gemodel {100 * begins:.6f}% {100 * ends:.6f}%")
    elif spec.loss_pct:
        words.append(f"loss {spec.loss_pct:.6f}%")
    if spec.reorder_pct:
        words.append(f"reorder {spec.reorder_pct:.6f}%")
    if spec.duplicate_pct:
        words.append(f"duplicate {spec.duplicate_pct:.6f}%")
    return " ".join([*words, f"rate {_ORDER_KEEPING_RATE}"])


def _seed_of(seed: int, direction: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{direction}".encode()).digest()[:8])


def counted(qdiscs: Mapping[str, Mapping[str, Any]]) -> DirectionCounters:
    """From `tc -s -j qdisc show`, by kind. netem counts what its child, the rate's full queue,
    refuses among its own drops (sch_netem.c, netem_dequeue): congestion, not the link's loss."""
    netem = qdiscs["netem"]
    congestion = qdiscs["tbf"]["drops"] if "tbf" in qdiscs else 0
    seen = netem["packets"] + netem["drops"] + netem["qlen"]
    return DirectionCounters(seen=seen, dropped=netem["drops"] - congestion)


def _difference(now: DirectionCounters, before: DirectionCounters) -> DirectionCounters:
    return DirectionCounters(seen=now.seen - before.seen, dropped=now.dropped - before.dropped)


def _tc(pid: int, words: str) -> str:
    return execute(pid, ["tc", *words.split()])
