"""A run's tables and counters become its verdict."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from experiments.analysis.client_totals import ERRORS, client_totals
from experiments.analysis.client_totals import answered as answered_of
from experiments.judge.laws import carried, conserved, little_at, totals_agree
from experiments.judge.precision import Uncertainty, assess, generators_ms
from experiments.judge.punctuality import Tail, tail
from experiments.judge.saturation import BusySecond, busiest_seconds, saturated
from experiments.judge.stationarity import settling_label
from experiments.judge.verdict import (
    BUSY,
    Check,
    Verdict,
    backends_check,
    captures_check,
    cpu_check,
    early_check,
    faults_check,
    lateness_check,
    links_check,
    precision_check,
    priority_check,
    problems_check,
    saturation_check,
    sockets_check,
    tail_check,
)
from experiments.plan.scenario import Scenario
from experiments.plan.workload.kinds import Wrk
from experiments.run.evidence import Evidence
from experiments.run.tabulate import Tables, tabulate
from experiments.tables.dataset import RunWriter
from experiments.tables.pcap.datagram_flows import DatagramCapture, check_ways
from experiments.tables.pcap.flows import check_retransmissions, uncaptured
from nginy.config.guard_settings import QueueSettings
from topologies.verify.checks import Calibration

NO_RECORDS = "wrk keeps no record of each request: not known"


def conclude(
    scenario: Scenario, evidence: Evidence, calibration: Calibration, writer: RunWriter
) -> Verdict:
    """Write all tables of the run and judge it."""
    tables = tabulate(scenario, evidence, writer)
    answered = tables.requests[tables.requests["status"] == "ok"]
    totals = client_totals(tables.samples)
    median_ms = _median_ms(answered, totals)
    uncertainty = _uncertainty(scenario, evidence, tables, median_ms)
    slowest = tail(answered["latency_ms"], answered["machine_ms"])
    busiest = busiest_seconds(tables.samples, (scenario.warmup_s, scenario.duration_s))
    reasons, count = calibration.reasons, len(calibration.checks)
    checks = [
        links_check(reasons, count, BUSY if calibration.disturbed else ""),
        *_machine_checks(scenario, evidence, tables, uncertainty, slowest, busiest),
        *_count_checks(scenario, evidence, tables),
    ]
    if scenario.strict:
        checks.append(lateness_check(generators_ms(tables.summaries), median_ms))
    labels = _labels(scenario, evidence, tables, busiest)
    return Verdict(tuple(checks), uncertainty, evidence.load, labels, slowest)


def _median_ms(answered: pd.DataFrame, totals: pd.DataFrame) -> float:
    """Of the answered requests, or the clients' own least median where they keep totals alone; 0
    without any."""
    if len(totals):
        return float(totals["latency_p50_ms"].min())
    return float(answered["latency_ms"].median()) if len(answered) else 0.0


def _uncertainty(
    scenario: Scenario, evidence: Evidence, tables: Tables, median_ms: float
) -> Uncertainty:
    # A real server does not say how late it was: that is its own affair, and part of the result.
    finals = [
        final
        for name, final in tables.finals.items()
        if name not in evidence.paused and "lateness_ms" in final
    ]
    return assess(
        scenario,
        evidence.links[1],
        evidence.load.balancer,
        generators_ms(tables.summaries),
        median_ms,
        backends_late_ms=[each["lateness_ms"]["p99"] for each in finals if each["lateness_ms"]],
        one_way=tables.ways,
    )


def _machine_checks(
    scenario: Scenario,
    evidence: Evidence,
    tables: Tables,
    uncertainty: Uncertainty,
    slowest: Tail | None,
    busiest: Mapping[str, BusySecond],
) -> list[Check]:
    """What the machine did to the measurement."""
    realtime = {each["client"]: each["realtime"] for each in tables.summaries if "realtime" in each}
    realtime |= {
        name: final["realtime"] for name, final in tables.finals.items() if "realtime" in final
    }
    return [
        precision_check(uncertainty),
        problems_check("tail", [], NO_RECORDS) if _totals(scenario) else tail_check(slowest),
        early_check(tables.ways),
        saturation_check(busiest, _measured(scenario, evidence)),
        priority_check(realtime, strict=scenario.strict),
        cpu_check(evidence.load, strict=scenario.strict),
        captures_check(
            {c.point: c.statistics.missing for c in evidence.captures if c.statistics},
            uncaptured(tables.requests, tables.flows, evidence.balancers),
            max((abs(c.clock_step_s) for c in evidence.captures), default=0.0),
        ),
    ]


def _count_checks(scenario: Scenario, evidence: Evidence, tables: Tables) -> list[Check]:
    """Whether programs that counted the same thing agree, and all lived that were to live."""
    alive = [name for name in scenario.backend_ids() if name not in evidence.dead]
    checks = [
        _conservation_check(scenario, evidence, tables),
        _little_check(scenario, evidence, tables, alive),
        backends_check(tables.finals, alive, own_queues=_real(scenario)),
    ]
    if scenario.protocol == "udp":
        drops = {each["client"]: each["udp_drops"] for each in tables.summaries}
        drops |= {name: final["udp_drops"] for name, final in tables.finals.items()}
        checks += [_datagrams_check(scenario, evidence, tables.datagrams), sockets_check(drops)]
    else:
        checks.append(_retransmissions_check(scenario, evidence, tables))
    if scenario.faults:
        checks.append(_faults_check(scenario, evidence))
    return checks


def _labels(
    scenario: Scenario,
    evidence: Evidence,
    tables: Tables,
    busiest: Mapping[str, BusySecond],
) -> tuple[str, ...]:
    """What a reader of a valid run has to know, too."""
    full = saturated(busiest)
    said = [
        f"{'balancer' if name in evidence.balancers else f'server {name}'} saturated ({full[name]})"
        for name in _measured(scenario, evidence)
        if name in full
    ]
    if _real(scenario):
        said += [
            f"server {name} had no room for {final['listen_drops']} connections (its listen queue)"
            for name, final in tables.finals.items()
            if final["listen_drops"]
        ]
    if _totals(scenario):
        said.append("wrk's totals: of the whole run, warm-up included")
    return tuple(filter(None, [*said, settling_label(scenario)]))


def _totals(scenario: Scenario) -> bool:
    return scenario.workload.kind == "wrk"


def _real(scenario: Scenario) -> bool:
    return scenario.backends.server != "emulated"


def _measured(scenario: Scenario, evidence: Evidence) -> list[str]:
    """Hosts of which it is a result that they were at their limit."""
    return [*evidence.balancers, *(scenario.backend_ids() if _real(scenario) else ())]


def _faults_check(scenario: Scenario, evidence: Evidence) -> Check:
    due = sorted(scenario.faults, key=lambda fault: fault.at_s)
    applied_s = [applied.applied_s - evidence.t0_s for applied in evidence.faults]
    return faults_check([(str(fault), fault.at_s) for fault in due], applied_s)


def _datagrams_check(
    scenario: Scenario, evidence: Evidence, seen: Mapping[str, DatagramCapture]
) -> Check:
    """Captures and links agree on what was lost."""
    (balancer,) = [seen.get(name) for name in evidence.balancers[:1]]
    clients = [seen[name] for name in evidence.clients if name in seen]
    lost = [
        {direction: counted.dropped + counted.overflow for direction, counted in reading.items()}
        for reading in evidence.links
    ]
    if balancer is None or not clients:
        return problems_check("datagrams", [], "not captured at both ends: not compared")
    if len(evidence.balancers) > 1 or not _lost_at_clients_alone(scenario, lost[1]):
        return problems_check("datagrams", [], "other links drop, too: not compared")
    rows = [
        row for client in clients for row in check_ways(client, balancer, evidence.addresses, *lost)
    ]
    problems = [
        f"{row.direction}: {row.missing} packets missing, {row.dropped} dropped by the link"
        for row in rows
        if not row.ok
    ]
    total = sum(row.missing for row in rows)
    return problems_check("datagrams", problems, f"captures and links agree on {total} lost")


def _lost_at_clients_alone(scenario: Scenario, lost: Mapping[str, int]) -> bool:
    """Whether of the ways between clients and balancer only the clients' own links are emulated."""
    shape, (balancer,) = scenario.topology, scenario.balancers()
    own = {edge for name in scenario.clients() for edge in shape.link_of(name).directions}
    ways = {
        edge
        for name in scenario.clients()
        for ends in ((name, balancer), (balancer, name))
        for edge in shape.way(*ends)
    }
    return not (ways - own) & lost.keys()


def _conservation_check(scenario: Scenario, evidence: Evidence, tables: Tables) -> Check:
    """Clients, balancer and backends have counted the same requests."""
    killed = {fault.subject for fault in scenario.faults if fault.action == "kill"}
    whole = {
        name: final
        for name, final in tables.finals.items()
        if name not in killed and "completed" in final
    }
    if isinstance(scenario.workload, Wrk):
        return _totals_check(scenario, scenario.workload, tables, whole, killed)
    problems = conserved(tables.requests, whole)
    single = scenario.protocol == "tcp" and scenario.workload.alone
    if single and evidence.balancer_records:
        problems += carried(tables.requests, tables.connections)
    answered = int((tables.requests["status"] == "ok").sum())
    who = "clients, balancer" if evidence.balancer_records else "clients"
    said = f"{who} and {len(whole)} backends agree on {answered} answers"
    if not whole:
        said = f"{who} know of {answered} answers; the backends' own counts are not known"
    return problems_check("conservation", problems, said)


def _totals_check(
    scenario: Scenario,
    workload: Wrk,
    tables: Tables,
    finals: Mapping[str, Mapping[str, Any]],
    killed: Collection[str],
) -> Check:
    """What wrk has counted against the servers' logs."""
    if not finals or killed:
        why = "a server was killed" if killed else "the servers keep no counts"
        return problems_check("conservation", [], f"{why}: wrk's totals stand alone")
    totals = client_totals(tables.samples)
    count = answered_of(totals)
    given_up = int(totals[["timeouts", *ERRORS]].to_numpy().sum())
    under_way = len(scenario.clients()) * workload.connections + given_up
    said = f"wrk and {len(finals)} servers' logs agree on {count} answers"
    return problems_check("conservation", totals_agree(count, under_way, finals), said)


def _little_check(
    scenario: Scenario, evidence: Evidence, tables: Tables, backends: Collection[str]
) -> Check:
    """L = lambda W of the connections at each backend. Not over UDP, which backends know no
    sessions of, and only where the records are exact; they leave out the time in a queue."""
    exact = evidence.records_exact and scenario.balancer.queue == QueueSettings()
    if scenario.protocol == "udp" or not exact:
        return problems_check("little's law", [], "nothing to compare")
    window_s = scenario.warmup_s, scenario.duration_s
    trips_s = {name: _round_trip_s(scenario, name) for name in backends}
    laws = {
        name: little_at(name, tables.connections, tables.samples, window_s, trip_s)
        for name, trip_s in trips_s.items()
        if trip_s is not None
    }
    compared = {name: law for name, law in laws.items() if law is not None}
    problems = [
        f"{name}: {law.in_flight_sampled:.2f} connections open, as it sampled, "
        f"{law.rate_times_stay:.2f} by the balancer's records (tolerance {law.tolerance:.2f})"
        for name, law in compared.items()
        if not law.ok
    ]
    said = f"holds at {len(compared)} backends" if compared else "nothing to compare"
    return problems_check("little's law", problems, said)


def _round_trip_s(scenario: Scenario, backend: str) -> float | None:
    """Asked of the way between balancer and backend; None where what is lost or changed on it makes
    another of it."""
    shape, balancer = scenario.changing_topology(), scenario.balancers()[0]
    ways = (*shape.way(balancer, backend), *shape.way(backend, balancer))
    changing = {edge for link in shape.links if link.changes for edge in link.directions}
    specs = [shape.specs[edge] for edge in ways]
    if changing & set(ways) or any(spec.loss_pct for spec in specs):
        return None
    return sum(spec.mean_delay_ms for spec in specs) / 1e3


def _retransmissions_check(scenario: Scenario, evidence: Evidence, tables: Tables) -> Check:
    """Captures and kernels agree on what was sent again; not in hosts that also send background
    flows, which kernels count and captures leave out."""
    beside = {end for flow in scenario.background for end in (flow.source, flow.destination)}
    before, at_end, after = (
        {point: counted for point, counted in reading.items() if point not in beside}
        for reading in evidence.counters
    )
    rows = check_retransmissions(
        tables.flows,
        {point: at_end[point].retransmitted - before[point].retransmitted for point in before},
        {point: [evidence.addresses[point]] for point in before},
        {point: after[point].retransmitted - before[point].retransmitted for point in before},
        {point: after[point].queue_drops - before[point].queue_drops for point in before},
    )
    problems = [
        f"{row.point}: {row.captured} captured, {row.kernel} counted by its kernel"
        for row in rows
        if not row.ok
    ]
    total = sum(row.kernel for row in rows)
    return problems_check("retransmissions", problems, f"captures and kernels agree on {total}")
