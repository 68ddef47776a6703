"""Measure every link before a run, and look at what the links did after it. Fails closed.

Each direction of each link is measured on its own: probes go between its end (of a trunk, the meter
of the first switch) and the meter, a host on the same switch whose own link has no impairment.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from topologies.build.network import Network
from topologies.emulate import wire
from topologies.emulate.method import DirectionCounters
from topologies.emulate.port import Port
from topologies.errors import LinkDead
from topologies.machine import tuning
from topologies.shapes.shape import LinkSpec
from topologies.verify import checks
from topologies.verify.checks import Calibration, Check
from topologies.verify.probes import Arrival, Probes, first_of_each, overtaken, send_probes
from topologies.verify.saturate import measure_rates

PROBES = 20
JITTER_PROBES = 200
ORDER_PROBES = 400
DUPLICATE_PROBES = 2000
_MAX_PROBES = 2000
_INTERVAL_S = 0.010
_DENSE_INTERVAL_S = 0.002
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
            *_patiently(_delays, network),
            *_patiently(_jitters, network),
            *_patiently(_orders, network),
            *_patiently(_duplicates, network),
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
    for host, asked in network.hosts.items():
        found = tuning.congestion_control(network.port(host).end_pid)
        rows.append(checks.same(host, "congestion control", asked, found))
    for port in network.ports:
        ends = (port.end_pid, port.end_interface), (port.switch_pid, port.switch_interface)
        for pid, interface in ends:
            on = [name for name, is_on in tuning.offloads(pid, interface).items() if is_on]
            rows.append(checks.same(interface, "offloads", "off", ", ".join(on) or "off"))
    return rows


def _measured(network: Network) -> list[Port]:
    """Every link of the shape: all but the meters' own."""
    names = {link.name for link in network.shape.links}
    return [port for port in network.ports if port.link.name in names]


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


def _delays(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """The median one-way delay of every direction."""
    return [
        checks.delay_check(direction, spec, _delays_ms(arrived))
        for direction, spec, arrived in _probed(network, ports, PROBES * attempt, lambda spec: True)
    ]


def _jitters(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """Of the directions that have any: whether delays are distributed as asked."""
    return [
        checks.jitter_check(direction, spec, _delays_ms(arrived))
        for direction, spec, arrived in _probed(
            network, ports, JITTER_PROBES * attempt, lambda spec: spec.jitter_ms > 0
        )
    ]


def _delays_ms(arrived: Sequence[Arrival]) -> list[float]:
    """A copy is no measurement of its own: it does not overtake the first, so it comes later."""
    return [each.delay_ms for each in first_of_each(arrived)]


def _duplicates(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """Of the directions that are to: how many packets come twice."""
    return [
        checks.twice_check(direction, spec, len(first_of_each(arrived)), len(arrived))
        for direction, spec, arrived in _probed(
            network, ports, DUPLICATE_PROBES, lambda spec: spec.duplicate_pct > 0, _DENSE_INTERVAL_S
        )
    ]


def _orders(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    """Of the directions that are to: how many packets overtake others."""
    return [
        checks.reorder_check(direction, spec, len(arrived), overtaken(arrived))
        for direction, spec, arrived in _probed(
            network, ports, ORDER_PROBES * attempt, lambda spec: spec.reorder_pct > 0
        )
    ]


def _probed(
    network: Network,
    ports: Sequence[Port],
    probes: int,
    wanted: Callable[[LinkSpec], bool],
    interval_s: float = _INTERVAL_S,
) -> list[tuple[str, LinkSpec, list[Arrival]]]:
    """Datagrams over each direction that is `wanted`, all at once, between the link's end and the
    meter of its switch; not over one that loses everything."""
    specs = {
        name: spec
        for port in ports
        for name, spec in port.link.specs.items()
        if spec.loss_pct < 100 and wanted(spec)
    }
    asked = {
        name: _probes(network, port, name, probes, interval_s)
        for port in ports
        for name in port.link.directions
        if name in specs
    }
    arrived = send_probes(asked)
    return [(name, spec, arrived[name]) for name, spec in specs.items()]


def _probes(network: Network, port: Port, direction: str, probes: int, interval_s: float) -> Probes:
    spec = port.link.specs[direction]
    ends = network.ends(port.link)
    sender, receiver = ends if direction == port.link.directions[0] else ends[::-1]
    # Far enough apart that no packet waits for an earlier one that drew a longer delay (if some
    # are to overtake others, so near that there are others), and so many that as many as wanted
    # are expected to come.
    interval_s = max(interval_s, 2 * spec.jitter_ms / 1e3)
    if spec.reorder_pct:
        interval_s = min(interval_s, spec.delay_ms / 1e3 / 4)
    return Probes(
        network.port(sender).end_pid,
        network.port(receiver).end_pid,
        network.address(receiver),
        min(_MAX_PROBES, round(probes / (1 - spec.loss_pct / 100))),
        interval_s,
        (spec.delay_ms + spec.jitter_ms) / 1e3,
        spec.duplicate_pct > 0,
    )


def _rates(network: Network, ports: Sequence[Port], attempt: int) -> list[Check]:
    specs = {name: spec for port in ports for name, spec in port.link.specs.items()}
    return [
        checks.between(
            direction,
            "rate",
            specs[direction].rate_mbps,
            measured,
            checks.rate_bounds_mbps(specs[direction]),
            " Mbit/s",
        )
        for direction, measured in measure_rates(network, ports, stretch=attempt).items()
    ]


def _await_quiet(network: Network) -> None:
    """Wait until the queues have drained and nothing is under way any more, up to 5 s."""
    specs = network.shape.specs.values()
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
    emulated = [port for port in _measured(network) if port.emulated]
    periods = {name: network.periods(name, counters[name]) for name in counters}
    count = sum(map(len, periods.values()))
    false_alarms = checks.FALSE_ALARMS_PER_RUN / max(1, count)
    for port in emulated:
        for direction in port.emulated:
            for period in periods[direction]:
                rows += checks.fate_checks(direction, period.spec, period.counted, false_alarms)
            over = counters[direction].overflow
            rows.append(checks.between(direction, "overflow", 0, over, (0, 0), " packets"))
        rows += _bypassed(port, baseline, counters)
    return rows


def _lateness(
    network: Network, counters: Mapping[str, DirectionCounters], strict: bool
) -> list[Check]:
    """How punctual the emulator was; no rows where the kernel keeps the time (netem)."""
    rows = []
    for port in _measured(network):
        for direction, spec in port.link.specs.items():
            bounds = (0.0, checks.lateness_bound_ms(spec))
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
    leaving, _ = port.link.directions
    rows = []
    for direction, carried in wire.packets_on(port).items():
        if direction not in port.emulated:
            continue
        counted = counters[direction]
        # Copies are on the wire of what a switch sends. Where the kernel does not tell how many
        # there are (netem), so many packets from a host could come past it unnoticed.
        copies = counted.duplicated or 0
        expected = counted.seen - (copies if direction == leaving else counted.dropped)
        on_wire = carried - baseline[direction]
        past = max(0, on_wire - expected)
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
