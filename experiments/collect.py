"""What a run left behind becomes its tables and its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from experiments.capture import Capture
from experiments.dataset import RunWriter
from experiments.flows import check_retransmissions, join_backends, read_flows
from experiments.host_load import CpuShares
from experiments.kernel_counters import CounterReadings
from experiments.scenario import Scenario
from experiments.serving_backend import name_backends
from experiments.tables import (
    connections_frame,
    empty_frame,
    read_lines,
    requests_frame,
    samples_frame,
)
from experiments.verdict import (
    Check,
    Verdict,
    backends_check,
    captures_check,
    cpu_check,
    lateness_check,
    links_check,
    problems_check,
)
from experiments.workload_checks import conservation
from topologies.links.checks import Calibration


@dataclass(frozen=True)
class Evidence:
    """Where the raw files of a finished run are, and what was counted while it ran."""

    raw: Path
    t0_s: float
    """Start of load, CLOCK_MONOTONIC seconds."""
    clients: list[str]
    addresses: Mapping[str, str]
    """IP address of every host."""
    balancer_records: Path
    captures: list[Capture]
    counters: CounterReadings
    cpu: CpuShares


def conclude(
    scenario: Scenario, evidence: Evidence, calibration: Calibration, writer: RunWriter
) -> Verdict:
    """Write all tables of the run and judge it."""
    raw, t0_s = evidence.raw, evidence.t0_s
    servers = [raw / f"samples-{name}.jsonl" for name in scenario.backend_ids()]
    generators = [raw / f"samples-{name}.jsonl" for name in evidence.clients]
    summaries = [orjson.loads((raw / f"summary-{c}.json").read_bytes()) for c in evidence.clients]
    connections = connections_frame(read_lines([evidence.balancer_records]), t0_s)
    sent = read_lines(raw / f"requests-{name}.jsonl" for name in evidence.clients)
    requests = name_backends(requests_frame(sent, t0_s), connections)
    flows = _flows(evidence, connections)
    writer.write_table("requests", requests)
    writer.write_table("samples", samples_frame(read_lines([*servers, *generators]), t0_s))
    writer.write_table("connections", connections)
    writer.write_table("flows", flows)
    if not scenario.keep_captures:
        for capture in evidence.captures:
            capture.path.unlink()
    answered = requests.loc[requests["status"] == "ok", "latency_ms"]
    finals = {record["backend"]: record for record in read_lines(servers) if record.get("final")}
    return Verdict(
        (
            links_check(calibration.reasons, len(calibration.checks)),
            lateness_check(summaries, float(answered.median()) if len(answered) else 0.0),
            problems_check(
                "conservation",
                conservation(summaries),
                f"all {len(requests)} requests accounted for",
            ),
            _little_check(summaries),
            backends_check(finals, scenario.backend_ids()),
            captures_check(
                {c.point: c.statistics.missing for c in evidence.captures if c.statistics},
                max((abs(c.clock_step_s) for c in evidence.captures), default=0.0),
            ),
            _retransmissions_check(evidence, flows),
            cpu_check(evidence.cpu.idle_pct, evidence.cpu.steal_pct),
        )
    )


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


def _little_check(summaries: list[dict[str, Any]]) -> Check:
    laws = {item["client"]: item["little"] for item in summaries if item["little"]}
    problems = [
        f"{client}: {law['in_flight_sampled']:.2f} in flight sampled, "
        f"{law['rate_times_stay']:.2f} from the records (tolerance {law['tolerance']:.2f})"
        for client, law in laws.items()
        if not law["ok"]
    ]
    return problems_check("little's law", problems, f"holds for {len(laws)} clients")


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
