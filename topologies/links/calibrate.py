"""Measure every link before a run, and look at what the links did after it. Fails closed.

Each link is measured on its own: probes go between its host and the meter, a host on the same
switch whose own link has no impairment.
"""

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from topologies import tuning
from topologies.errors import LinkDead
from topologies.links import checks, wire
from topologies.links.blast import FRAME_BYTES
from topologies.links.checks import Calibration, Check
from topologies.links.method import DirectionCounters
from topologies.links.port import Port
from topologies.network import Network

PROBES = 20
_MAX_PROBES = 400
_INTERVAL_S = 0.010
_OVERLOAD = 1.25
_BLAST_S = 0.3
_FRAMES = 60
_AT_ONCE_MBPS = 200.0
_ROOT = Path(__file__).resolve().parents[2]


def calibrate(network: Network) -> Calibration:
    """Measure; afterwards the links' draws and counters begin again, for the run."""
    rows = [*_settings(network), *_round_trips(network), *_rates(network)]
    try:
        rows += _accounts(network, {}, network.link_counters())
        # Not the emulator's lateness: calibration starts dozens of processes and fills links
        # beyond their rate. What counts is the lateness during the run.
        network.restart_counters()
    except LinkDead as dead:
        rows.append(_dead(dead))
    return Calibration(network.link_method, tuple(rows), _wire_baseline(network))


def finish(calibration: Calibration, network: Network) -> Calibration:
    """The same with what the links' own counters say about the run."""
    try:
        counters = network.link_counters()
        rows = _accounts(network, calibration.wire_baseline, counters)
        rows += _lateness(network, counters)
        rows += _lost_by_the_machine(network, calibration.wire_baseline)
    except LinkDead as dead:
        rows = [_dead(dead)]
    return replace(calibration, checks=(*calibration.checks, *rows))


def _dead(error: LinkDead) -> Check:
    return checks.same(str(error), "emulator", "alive", "dead")


def _settings(network: Network) -> list[Check]:
    """Congestion control inside every host, and offloads off at both ends of every link."""
    rows = []
    for port in network.ports:
        found = tuning.congestion_control(port.host_pid)
        host = port.link.host
        rows.append(checks.same(host, "congestion control", network.congestion_control, found))
        ends = (port.host_pid, port.host_interface), (port.switch_pid, port.switch_interface)
        for pid, interface in ends:
            on = [name for name, is_on in tuning.offloads(pid, interface).items() if is_on]
            rows.append(checks.same(interface, "offloads", "off", ", ".join(on) or "off"))
    return rows


def _measured(network: Network) -> list[Port]:
    """Every link of the shape: all but the meters' own."""
    hosts = {host.name for host in network.shape.hosts}
    return [port for port in network.ports if port.link.host in hosts]


def _round_trips(network: Network) -> list[Check]:
    """Ping the meter from every host at once: a few hundred small packets a second in all."""
    ports = [port for port in _measured(network) if port.link.spec.loss_pct < 100]
    pings = [_ping(network, port) for port in ports]
    rows = []
    for port, ping in zip(ports, pings, strict=True):
        out, _ = ping.communicate(timeout=60)
        times = [float(found) for found in re.findall(r"time=([\d.]+) ms", out)]
        spec = port.link.spec
        median = statistics.median(times) if times else None
        bounds = checks.rtt_bounds_ms(spec)
        rows.append(
            checks.between(port.link.name, "median RTT", 2 * spec.delay_ms, median, bounds, " ms")
        )
    return rows


def _ping(network: Network, port: Port) -> "subprocess.Popen[str]":
    spec = port.link.spec
    # Far enough apart that no packet waits for an earlier one that drew a longer delay, and so
    # many that 20 are expected to come back.
    interval_s = max(_INTERVAL_S, 2 * spec.jitter_ms / 1e3)
    count = min(_MAX_PROBES, round(PROBES / (1 - spec.loss_pct / 100) ** 2))
    wait_s = max(1.0, 4 * spec.delay_ms / 1e3)
    target = network.address(network.meter(port.link.switch))
    options = {"-c": count, "-i": f"{interval_s:.3f}", "-W": f"{wait_s:.1f}"}
    words = [str(word) for option in options.items() for word in option]
    host = port.link.host
    return network.popen(host, ["ping", "-n", *words, target], stdout=subprocess.PIPE, text=True)


class _Blast:
    """One direction of one link, filled by a sender at its far end."""

    def __init__(self, network: Network, port: Port, direction: str) -> None:
        spec = port.link.spec
        asked = checks.UNLIMITED_MBPS if spec.rate_mbps is None else spec.rate_mbps
        self.port, self.direction, self.asked_mbps = port, direction, asked
        self._meter = network.port(network.meter(port.link.switch))
        self._leaving = direction == port.link.directions[0]
        self._network = network
        # Some sixty frames at least, for rates at which 0.3 s would hold only a few.
        self._seconds = max(_BLAST_S, _FRAMES * FRAME_BYTES * 8 / (asked * 1e6))
        self._samples: list[tuple[float, int]] = []
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        hosts = [self.port.link.host, self._meter.link.host]
        sender, receiver = hosts if self._leaving else hosts[::-1]
        limited = self.port.link.spec.rate_mbps is not None
        offered = self.asked_mbps * (_OVERLOAD if limited else 1)
        words = [self._network.address(receiver), str(offered), str(self._seconds)]
        argv = [sys.executable, "-m", "topologies.links.blast", *words]
        self.process = self._network.popen(sender, argv, cwd=_ROOT)

    def sample(self) -> None:
        """Look at the switch's far side of the link, where what was carried comes out."""
        place = wire.at_switch(self.port) if self._leaving else wire.at_host(self.port)
        self._samples.append((time.monotonic(), place.rx_bytes))

    def rate_mbps(self) -> float | None:
        return steady_rate_mbps(self._samples)


def steady_rate_mbps(samples: Sequence[tuple[float, int]]) -> float | None:
    """The rate between the first third and the end of the growth in (time_s, bytes) samples;
    None where too little moved. The first third holds the bucket's burst."""
    moving = [after for before, after in pairwise(samples) if after[1] > before[1]]
    if len(moving) < 4:
        return None
    first, last = moving[len(moving) // 3], moving[-1]
    return (last[1] - first[1]) * 8 / 1e6 / (last[0] - first[0])


def _rates(network: Network) -> list[Check]:
    blasts = [
        _Blast(network, port, direction)
        for port in _measured(network)
        for direction in port.link.directions
    ]
    rows = []
    for group in _groups(blasts):
        _measure(group)
        rows += [
            checks.between(
                blast.direction,
                "rate",
                blast.port.link.spec.rate_mbps,
                blast.rate_mbps(),
                checks.rate_bounds_mbps(blast.port.link.spec),
                " Mbit/s",
            )
            for blast in group
        ]
    return rows


def _groups(blasts: Sequence[_Blast]) -> list[list[_Blast]]:
    """What may be measured at once: links are independent, the processor is not."""
    groups: list[list[_Blast]] = []
    for blast in sorted(blasts, key=lambda blast: blast.asked_mbps):
        load = sum(other.asked_mbps for other in groups[-1]) if groups else _AT_ONCE_MBPS
        if load + blast.asked_mbps > _AT_ONCE_MBPS:
            groups.append([])
        groups[-1].append(blast)
    return groups


def _measure(group: list[_Blast]) -> None:
    for blast in group:
        blast.start()
    while any(blast.process.poll() is None for blast in group):
        for blast in group:
            blast.sample()
        time.sleep(0.01)


def _accounts(
    network: Network, baseline: Mapping[str, int], counters: Mapping[str, DirectionCounters]
) -> list[Check]:
    """What the links say they did, against what was asked and what the interfaces saw."""
    rows = []
    impaired = [port for port in _measured(network) if port.link.spec.impaired]
    false_alarms = checks.FALSE_ALARMS_PER_RUN / max(1, 2 * len(impaired))
    for port in impaired:
        for direction in port.link.directions:
            rows += _direction(port, direction, counters[direction], false_alarms)
        rows += _bypassed(port, baseline, counters)
    return rows


def _direction(
    port: Port, direction: str, counted: DirectionCounters, false_alarms: float
) -> list[Check]:
    spec = port.link.spec
    overflow = checks.between(direction, "overflow", 0, counted.overflow, (0, 0), " packets")
    loss = checks.loss_check(
        direction, spec.loss_pct, counted.seen, counted.dropped, false_alarms=false_alarms
    )
    return [loss, overflow]


def _lateness(network: Network, counters: Mapping[str, DirectionCounters]) -> list[Check]:
    """How punctual the emulator was; no rows where the kernel keeps the time (netem)."""
    rows = []
    for port in _measured(network):
        bounds = (0.0, checks.lateness_bound_ms(port.link.spec))
        for direction in port.link.directions:
            late = counters[direction].lateness_p99_ms if direction in counters else None
            if late is not None:
                rows.append(checks.between(direction, "p99 lateness", 0, late, bounds, " ms"))
    return rows


def _bypassed(
    port: Port, baseline: Mapping[str, int], counters: Mapping[str, DirectionCounters]
) -> list[Check]:
    """Packets on the wire that never went through the emulator: its rule is gone."""
    leaving, reaching = port.link.directions
    expected = {
        leaving: counters[leaving].seen,
        reaching: counters[reaching].seen - counters[reaching].dropped,
    }
    rows = []
    for direction, carried in wire.packets_on(port).items():
        on_wire = carried - baseline.get(direction, 0)
        past = max(0, on_wire - expected[direction])
        bounds = (0.0, checks.bypass_bound(on_wire))
        rows.append(checks.between(direction, "bypassed", 0, past, bounds, " packets"))
    return rows


def _lost_by_the_machine(network: Network, baseline: Mapping[str, int]) -> list[Check]:
    """Packets that fell between the two ends of a cable: the machine could not keep up."""
    rows = []
    for port in _measured(network):
        name = port.link.name
        lost = wire.lost_on(port) - baseline[name]
        rows.append(checks.between(name, "lost by the machine", 0, lost, (0, 0), " packets"))
    return rows


def _wire_baseline(network: Network) -> dict[str, int]:
    """By direction, the packets on the wire so far; by link, those lost by the machine."""
    baseline: dict[str, int] = {}
    for port in _measured(network):
        baseline |= wire.packets_on(port)
        baseline[port.link.name] = wire.lost_on(port)
    return baseline
