"""What a run left behind becomes its tables."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
import pandas as pd

from experiments.judge.punctuality import OneWay, added_ms
from experiments.lab.ports import BACKEND_PORT
from experiments.plan.scenario import Scenario
from experiments.run.evidence import Evidence
from experiments.run.on_the_way import measured_ways
from experiments.tables.dataset import RunWriter
from experiments.tables.pcap.datagram_flows import DatagramCapture, read_datagrams
from experiments.tables.pcap.flows import join_backends, read_flows
from experiments.tables.schema import (
    connections_frame,
    empty_frame,
    faults_frame,
    read_lines,
    requests_frame,
    samples_frame,
)
from experiments.tables.serving_backend import name_backends


@dataclass(frozen=True)
class Tables:
    """All that was written, and what is only judged by."""

    requests: pd.DataFrame
    samples: pd.DataFrame
    connections: pd.DataFrame
    flows: pd.DataFrame
    datagrams: Mapping[str, DatagramCapture]
    """By capture point; of UDP."""
    ways: list[OneWay]
    summaries: list[dict[str, Any]]
    """Of the load generators."""
    finals: dict[str, dict[str, Any]]
    """The last counters of each backend that came to its end."""


def tabulate(scenario: Scenario, evidence: Evidence, writer: RunWriter) -> Tables:
    """Read everything, write all tables; the captures go unless they are to be kept."""
    raw, t0_s = evidence.raw, evidence.t0_s
    connections = connections_frame(read_lines(evidence.balancer_records), t0_s)
    requests, ways = _requests(scenario, evidence, connections)
    flows, datagrams = _flows(scenario, evidence, connections)
    generators = [raw / f"samples-{name}.jsonl" for name in evidence.clients]
    sampled = list(read_lines(evidence.backend_samples))
    beside = chain(evidence.cpu_samples, evidence.background_samples)
    samples = samples_frame(chain(sampled, read_lines(generators), beside), t0_s)
    for name, frame in (
        ("requests", requests),
        ("samples", samples),
        ("connections", connections),
        ("flows", flows),
    ):
        writer.write_table(name, frame)
    if scenario.faults:
        writer.write_table("faults", faults_frame((each.row for each in evidence.faults), t0_s))
    if not scenario.keep_captures:
        for capture in evidence.captures:
            capture.path.unlink()
    return Tables(
        requests,
        samples,
        connections,
        flows,
        datagrams,
        ways,
        summaries=[
            orjson.loads((raw / f"summary-{name}.json").read_bytes()) for name in evidence.clients
        ],
        finals={record["backend"]: record for record in sampled if record.get("final")},
    )


def _requests(
    scenario: Scenario, evidence: Evidence, connections: pd.DataFrame
) -> tuple[pd.DataFrame, list[OneWay]]:
    """With the backends that no answer names, and what this machine added to each."""
    at = _addresses(scenario, evidence)
    sent = read_lines(evidence.raw / f"requests-{name}.jsonl" for name in evidence.clients)
    requests = name_backends(requests_frame(_sent_to(sent, at), evidence.t0_s), connections)
    ways, late = measured_ways(
        scenario.topology, evidence.captures, evidence.balancers, evidence.t0_s
    )
    return requests.assign(machine_ms=added_ms(requests, late)), ways


def _addresses(scenario: Scenario, evidence: Evidence) -> dict[str, str]:
    """Backends by their `ip:port`."""
    return {f"{evidence.addresses[name]}:{BACKEND_PORT}": name for name in scenario.backend_ids()}


def _sent_to(
    records: Iterable[dict[str, Any]], backends: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """With the backend that a client chose itself, where none has answered."""
    for record in records:
        chosen = backends.get(record.get("target") or "")
        yield {**record, "backend": record["backend"] or chosen} if chosen else record


def _flows(
    scenario: Scenario, evidence: Evidence, connections: pd.DataFrame
) -> tuple[pd.DataFrame, Mapping[str, DatagramCapture]]:
    """Of all capture points, with backends; of UDP also each capture's datagrams."""
    datagrams: dict[str, DatagramCapture] = {}
    known = None
    frames = []
    for capture in evidence.captures:
        point, offset_s = capture.point, capture.clock_offset_s
        if scenario.protocol == "udp":
            seen = read_datagrams(capture.path, point, clock_offset_s=offset_s, t0_s=evidence.t0_s)
            datagrams[point] = seen
            frames.append(seen.flows)
            # A session that was moved is recorded with the backend that it ended at.
            known = _addresses(scenario, evidence)
        else:
            frames.append(
                read_flows(capture.path, point, clock_offset_s=offset_s, t0_s=evidence.t0_s)
            )
    seen_at_all = [frame for frame in frames if len(frame)]
    if not seen_at_all:
        return empty_frame("flows"), datagrams
    flows = pd.concat(seen_at_all, ignore_index=True)
    return join_backends(flows, connections, known), datagrams
