"""Measure every link before a run, and look at what the links did after it. Fails closed.

Each link is measured on its own: probes go between its host and the meter, a host on the same
switch whose own link has no impairment.
"""

import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from topologies.build.network import Network
from topologies.emulate import wire
from topologies.emulate.method import DirectionCounters
from topologies.emulate.port import Port
from topologies.errors import LinkDead
from topologies.machine import tuning
from topologies.verify import checks
from topologies.verify.checks import Calibration, Check
from topologies.verify.saturate import measure_rates

PROBES = 20
JITTER_PROBES = 200
_MAX_PROBES = 400
_INTERVAL_S = 0.010
_PING_S = 30
_ATTEMPTS = 5
_IDLE_S = 0.05
_QUIET_WITHIN_S = 5.0


def calibrate(network: Network) -> Calibration:
    """Measure; afterwards the links' counters begin again, for the run."""
    rows = _settings(network)
    tried: list[list[Check]] = []
    try:
        network.restart_counters()
        before = _wire_baseline(network)
        tried = [
            *_patiently(_round_trips, network),
            *_patiently(_jitters, network),
            *_patiently(_rates, network),
        ]
        rows += map(checks.best, tried)
        _await_quiet(network)
        # Not the emulator's lateness: calibration starts dozens of processes and fills links
        # beyond their rate. What counts is the lateness during the run.
        rows += _accounts(network, before, network.link_counters())
        network.restart_counters()
    except LinkDead as dead:
        rows.append(_dead(dead))
    attempts = checks.repeated(tried)
    return Calibration(network.link_method, tuple(rows), _wire_baseline(network), attempts)


def finish(calibration: Calibration, network: Network, *, strict: bool = False) -> Calibration:
    """The same with what the links' own counters say about the run.

    `strict`: an emulator that was late makes it invalid; else its lateness is only reported.
    """
    try:
        counters = network.link_counters()
        rows = _accounts(network, calibration.wire_baseline, counters)
        rows += _lateness(network, counters, strict)
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


_Measure = Callable[[Network, Sequence[Port], int], list[Check]]


def _patiently(measure: _Measure, network: Network) -> list[list[Check]]:
    """All measurements of each link or direction: those that failed again, up to five in all.

    Each attempt measures longer than the one before: the longer, the less a moment counts in which
    another program had the processor. Why the best of them may count: `checks.best`.
    """
    tried: dict[str, list[Check]] = {}
    ports: Sequence[Port] = _measured(network)
    for attempt in range(1, _ATTEMPTS + 1):
        for row in measure(network, ports, attempt):
            tried.setdefault(row.link, []).append(row)
        failed = {name for name, rows in tried.items() if checks.worth_repeating(rows)}
        ports = [port for port in ports if failed & {port.link.name, *port.link.directions}]
        if not ports:
            break
    return list(tried.values())


def _round_trips(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """Ping the meter from every host at once: a few hundred small packets a second in all."""
    rows = []
    for port, times in _pinged(network, ports, PROBES * attempt):
        spec = port.link.spec
        median = statistics.median(times) if times else None
        bounds = checks.rtt_bounds_ms(spec)
        rows.append(
            checks.between(port.link.name, "median RTT", 2 * spec.delay_ms, median, bounds, " ms")
        )
    return rows


def _jitters(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """Of the links that have any: whether round trips are distributed as asked."""
    varied = [port for port in ports if port.link.spec.jitter_ms]
    return [
        checks.jitter_check(port.link.name, port.link.spec, times)
        for port, times in _pinged(network, varied, JITTER_PROBES * attempt)
    ]


def _pinged(
    network: Network, ports: Sequence[Port], probes: int
) -> Iterator[tuple[Port, list[float]]]:
    """Round trips to the meter (ms), all ports at once; not of a link that loses everything."""
    reachable = [port for port in ports if port.link.spec.loss_pct < 100]
    pings = [_ping(network, port, probes) for port in reachable]
    for port, ping in zip(reachable, pings, strict=True):
        out, _ = ping.communicate()
        yield port, [float(found) for found in re.findall(r"time=([\d.]+) ms", out)]


def _ping(network: Network, port: Port, probes: int) -> "subprocess.Popen[str]":
    spec = port.link.spec
    # Far enough apart that no packet waits for an earlier one that drew a longer delay, and so
    # many that as many as wanted are expected to come back.
    interval_s = max(_INTERVAL_S, 2 * spec.jitter_ms / 1e3)
    count = min(_MAX_PROBES, round(probes / (1 - spec.loss_pct / 100) ** 2))
    wait_s = max(1.0, 4 * spec.delay_ms / 1e3)
    target = network.address(network.meter(port.link.switch))
    options = {"-c": count, "-i": f"{interval_s:.3f}", "-W": f"{wait_s:.1f}", "-w": _PING_S}
    words = [str(word) for option in options.items() for word in option]
    host = port.link.host
    return network.popen(host, ["ping", "-n", *words, target], stdout=subprocess.PIPE, text=True)


def _rates(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    asked = {direction: port for port in ports for direction in port.link.directions}
    return [
        checks.between(
            direction,
            "rate",
            asked[direction].link.spec.rate_mbps,
            measured,
            checks.rate_bounds_mbps(asked[direction].link.spec),
            " Mbit/s",
        )
        for direction, measured in measure_rates(network, ports, stretch=attempt).items()
    ]


def _await_quiet(network: Network) -> None:
    """Wait until the queues have drained and nothing is under way any more, up to 5 s."""
    specs = [port.link.spec for port in network.ports]
    longest_s = max(spec.delay_ms + spec.jitter_ms for spec in specs) / 1e3 + _IDLE_S
    deadline = time.monotonic() + _QUIET_WITHIN_S + longest_s
    before = None
    while (now := _wire_baseline(network)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(longest_s)


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


def _lateness(
    network: Network, counters: Mapping[str, DirectionCounters], strict: bool
) -> list[Check]:
    """How punctual the emulator was; no rows where the kernel keeps the time (netem)."""
    rows = []
    for port in _measured(network):
        bounds = (0.0, checks.lateness_bound_ms(port.link.spec))
        for direction in port.link.directions:
            counted = counters.get(direction, DirectionCounters())
            p99, most = counted.lateness_p99_ms, counted.lateness_max_ms
            if p99 is not None and strict:
                rows.append(checks.between(direction, "p99 lateness", 0, p99, bounds, " ms"))
            elif p99 is not None:
                rows.append(checks.told(direction, "p99 lateness", p99, " ms"))
            if most is not None:
                rows.append(checks.told(direction, "maximum lateness", most, " ms"))
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
        on_wire = carried - baseline[direction]
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
