"""What a run left behind becomes its tables and its verdict."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from experiments.judge.laws import carried, conserved, little_at
from experiments.judge.precision import assess, generators_ms
from experiments.judge.punctuality import added_ms, tail
from experiments.judge.saturation import busiest_seconds, saturated
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
from experiments.lab.backends import AppliedFault
from experiments.lab.capture import Capture
from experiments.lab.host_load import HostLoad
from experiments.lab.kernel_counters import CounterReadings
from experiments.lab.ports import BACKEND_PORT
from experiments.plan.scenario import Scenario
from experiments.run.on_the_way import measured_ways
from experiments.tables.dataset import RunWriter
from experiments.tables.pcap.datagram_flows import DatagramCapture, check_ways, read_datagrams
from experiments.tables.pcap.flows import check_retransmissions, join_backends, read_flows
from experiments.tables.schema import (
    connections_frame,
    empty_frame,
    faults_frame,
    read_lines,
    requests_frame,
    samples_frame,
)
from experiments.tables.serving_backend import name_backends
from nginy.config.guard_settings import QueueSettings
from topologies.emulate.method import DirectionCounters
from topologies.verify.checks import Calibration

BALANCER = "lb"

LinkReadings = tuple[Mapping[str, DirectionCounters], Mapping[str, DirectionCounters]]
"""The links' counters as the load ended, and after the captures had."""


@dataclass(frozen=True)
class Evidence:
    """Where the raw files of a finished run are, and what was counted while it ran."""

    raw: Path
    t0_s: float
    """Start of load, CLOCK_MONOTONIC seconds."""
    clients: list[str]
    addresses: Mapping[str, str]
    """IP address of every host."""
    balancer_records: Path | None
    """None: the system keeps none."""
    captures: list[Capture]
    counters: CounterReadings
    load: HostLoad
    cpu_samples: list[dict[str, Any]]
    """Rows of table `samples`, at CLOCK_MONOTONIC seconds."""
    backend_samples: list[Path]
    """One file per start of a backend."""
    dead: Collection[str]
    """Backends that a fault killed and none restored."""
    faults: list[AppliedFault]
    links: LinkReadings


def conclude(
    scenario: Scenario, evidence: Evidence, calibration: Calibration, writer: RunWriter
) -> Verdict:
    """Write all tables of the run and judge it."""
    raw, t0_s = evidence.raw, evidence.t0_s
    generators = [raw / f"samples-{name}.jsonl" for name in evidence.clients]
    summaries = [orjson.loads((raw / f"summary-{c}.json").read_bytes()) for c in evidence.clients]
    recorded = [evidence.balancer_records] if evidence.balancer_records else []
    connections = connections_frame(read_lines(recorded), t0_s)
    at = {f"{evidence.addresses[n]}:{BACKEND_PORT}": n for n in scenario.backend_ids()}
    sent = read_lines(raw / f"requests-{name}.jsonl" for name in evidence.clients)
    requests = name_backends(requests_frame(_sent_to(sent, at), t0_s), connections)
    ways, late = measured_ways(
        scenario.network, evidence.captures, evidence.addresses, BALANCER, t0_s
    )
    requests = requests.assign(machine_ms=added_ms(requests, late))
    raw_samples = chain(read_lines([*evidence.backend_samples, *generators]), evidence.cpu_samples)
    samples = samples_frame(raw_samples, t0_s)
    writer.write_table("requests", requests)
    writer.write_table("samples", samples)
    writer.write_table("connections", connections)
    if scenario.faults:
        writer.write_table("faults", faults_frame(map(_fault_row, evidence.faults), t0_s))
    if scenario.protocol == "udp":
        flows, packets_check = _datagrams(evidence, connections, scenario.backend_ids())
    else:
        flows, packets_check = _segments(evidence, connections)
    writer.write_table("flows", flows)
    if not scenario.keep_captures:
        for capture in evidence.captures:
            capture.path.unlink()
    answered = requests[requests["status"] == "ok"]
    median_ms = float(answered["latency_ms"].median()) if len(answered) else 0.0
    late_ms = generators_ms(summaries)
    last_lines = [record for record in read_lines(evidence.backend_samples) if record.get("final")]
    finals = {record["backend"]: record for record in last_lines}
    uncertainty = assess(
        scenario,
        evidence.links[1],
        evidence.load.balancer,
        late_ms,
        median_ms,
        backends_late_ms=[
            final["lateness_ms"]["p99"] for final in finals.values() if final["lateness_ms"]
        ],
        one_way=ways,
    )
    slowest = tail(answered["latency_ms"], answered["machine_ms"])
    window_s = scenario.warmup_s, scenario.duration_s
    busiest = busiest_seconds(samples, window_s)
    alive = [name for name in scenario.backend_ids() if name not in evidence.dead]
    checks = [
        links_check(
            calibration.reasons, len(calibration.checks), BUSY if calibration.disturbed else ""
        ),
        precision_check(uncertainty),
        tail_check(slowest),
        early_check(ways),
        _conservation_check(scenario, requests, connections, finals),
        _little_check(scenario, alive, connections, samples),
        saturation_check(busiest, BALANCER),
        priority_check(
            {each["client"]: each["realtime"] for each in summaries}
            | {name: final["realtime"] for name, final in finals.items()},
            strict=scenario.strict,
        ),
        backends_check(finals, alive),
        captures_check(
            {c.point: c.statistics.missing for c in evidence.captures if c.statistics},
            max((abs(c.clock_step_s) for c in evidence.captures), default=0.0),
        ),
        packets_check,
        cpu_check(evidence.load, strict=scenario.strict),
    ]
    if scenario.strict:
        checks.append(lateness_check(late_ms, median_ms))
    if scenario.protocol == "udp":
        drops = {each["client"]: each["udp_drops"] for each in summaries}
        checks.append(sockets_check(drops | {n: f["udp_drops"] for n, f in finals.items()}))
    if scenario.faults:
        checks.append(_faults_check(scenario, evidence))
    labels = tuple(
        f"balancer saturated ({second})"
        for name, second in saturated(busiest).items()
        if name == BALANCER
    )
    if unsettled := settling_label(scenario):
        labels += (unsettled,)
    return Verdict(tuple(checks), uncertainty, evidence.load, labels, slowest)


def _sent_to(
    records: Iterable[dict[str, Any]], backends: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """With the backend that a client chose itself, where none has answered."""
    for record in records:
        chosen = backends.get(record.get("target") or "")
        yield {**record, "backend": record["backend"] or chosen} if chosen else record


def _fault_row(applied: AppliedFault) -> dict[str, Any]:
    fault, applied_s = applied
    return {
        "at_s": fault.at_s,
        "applied_s": applied_s,
        "action": fault.action,
        "backend": fault.backend,
        "factor": fault.factor,
    }


def _faults_check(scenario: Scenario, evidence: Evidence) -> Check:
    due = sorted(scenario.faults, key=lambda fault: fault.at_s)
    applied_s = [applied.applied_s - evidence.t0_s for applied in evidence.faults]
    return faults_check([(str(fault), fault.at_s) for fault in due], applied_s)


def _segments(evidence: Evidence, connections: pd.DataFrame) -> tuple[pd.DataFrame, Check]:
    """TCP: the flows, and whether captures and kernels agree on what was sent again."""
    flows = _flows(evidence, connections)
    return flows, _retransmissions_check(evidence, flows)


def _datagrams(
    evidence: Evidence, connections: pd.DataFrame, backends: Collection[str]
) -> tuple[pd.DataFrame, Check]:
    """UDP: the flows, and whether captures and links agree on what was lost."""
    seen = {
        capture.point: read_datagrams(
            capture.path,
            capture.point,
            clock_offset_s=capture.clock_offset_s,
            t0_s=evidence.t0_s,
        )
        for capture in evidence.captures
    }
    frames = [each.flows for each in seen.values() if len(each.flows)]
    flows = pd.concat(frames, ignore_index=True) if frames else empty_frame("flows")
    # A session that was moved is recorded with the backend that it ended at.
    known = {f"{evidence.addresses[name]}:{BACKEND_PORT}": name for name in backends}
    joined = join_backends(flows, connections, known) if frames else flows
    return joined, _datagrams_check(evidence, seen)


def _datagrams_check(evidence: Evidence, seen: Mapping[str, DatagramCapture]) -> Check:
    balancer = seen.get(BALANCER)
    clients = [seen[name] for name in evidence.clients if name in seen]
    lost = [
        {direction: counted.dropped + counted.overflow for direction, counted in reading.items()}
        for reading in evidence.links
    ]
    if balancer is None or not clients:
        return problems_check("datagrams", [], "not captured at both ends: not compared")
    if {"lb->s1", "s1->lb"} & lost[1].keys():
        return problems_check("datagrams", [], "the balancer's link drops too: not compared")
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


def _flows(evidence: Evidence, connections: pd.DataFrame) -> pd.DataFrame:
    read = partial(read_flows, t0_s=evidence.t0_s)
    frames = [
        read(capture.path, capture.point, clock_offset_s=capture.clock_offset_s)
        for capture in evidence.captures
    ]
    seen = [frame for frame in frames if len(frame)]
    if not seen:
        return empty_frame("flows")
    return join_backends(pd.concat(seen, ignore_index=True), connections)


def _conservation_check(
    scenario: Scenario,
    requests: pd.DataFrame,
    connections: pd.DataFrame,
    finals: Mapping[str, Mapping[str, Any]],
) -> Check:
    """Clients, balancer and backends have counted the same requests."""
    killed = {fault.backend for fault in scenario.faults if fault.action == "kill"}
    whole = {name: final for name, final in finals.items() if name not in killed}
    problems = conserved(requests, whole)
    single = scenario.protocol == "tcp" and scenario.workload.mode == "per_request"
    if single and scenario.system != "direct":
        problems += carried(requests, connections)
    answered = int((requests["status"] == "ok").sum())
    who = "clients" if scenario.system == "direct" else "clients, balancer"
    said = f"{who} and {len(whole)} backends agree on {answered} answers"
    return problems_check("conservation", problems, said)


def _little_check(
    scenario: Scenario,
    backends: Collection[str],
    connections: pd.DataFrame,
    samples: pd.DataFrame,
) -> Check:
    """L = lambda W of the connections at each backend. Not over UDP, which backends know no
    sessions of, and only with records that are exact and tell when a connection was made: nginx's
    are to the millisecond, nginy's leave out the time in a queue."""
    exact = scenario.system == "nginy" and scenario.balancer.queue == QueueSettings()
    if scenario.protocol == "udp" or not exact:
        return problems_check("little's law", [], "nothing to compare")
    window_s = scenario.warmup_s, scenario.duration_s
    laws = {name: little_at(name, connections, samples, window_s) for name in backends}
    compared = {name: law for name, law in laws.items() if law is not None}
    problems = [
        f"{name}: {law.in_flight_sampled:.2f} connections open, as it sampled, "
        f"{law.rate_times_stay:.2f} by the balancer's records (tolerance {law.tolerance:.2f})"
        for name, law in compared.items()
        if not law.ok
    ]
    return problems_check("little's law", problems, f"holds at {len(compared)} backends")


def _retransmissions_check(evidence: Evidence, flows: pd.DataFrame) -> Check:
    before, at_end, after = evidence.counters
    rows = check_retransmissions(
        flows,
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
