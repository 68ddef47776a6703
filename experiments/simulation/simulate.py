"""One scenario becomes one run folder, in virtual time: the simulation's way, top to bottom.

Refuse what is not modelled, manifest, the loop, tables, verdict. Same folder, same tables, same
figures as the emulation's; `manifest.kind` says which it was.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from experiments.analysis.intervals import Interval, batch_means
from experiments.analysis.theory import Reference, reference
from experiments.judge.laws import carried, conserved, little_at
from experiments.judge.stationarity import settling_label
from experiments.judge.verdict import Check, Verdict, problems_check
from experiments.lab.metadata import manifest
from experiments.plan.scenario import Scenario
from experiments.plan.workload.plan import plan_frame
from experiments.simulation import express, loop
from experiments.simulation.happened import Happened
from experiments.simulation.support import refuse
from experiments.tables.dataset import RunWriter
from nginy.config.guard_settings import QueueSettings

THEORY_PCT = 1.0
"""Beside its own interval, a mean may be so far from the exact value: what the way of a connection
adds to the order of arrivals."""


def simulate(
    scenario: Scenario, folder: Path, progress: Callable[[float], object] | None = None
) -> Verdict:
    """Simulate `scenario` into `folder`, and say whether the result is valid.

    Raises:
        ScenarioError: something of it is not simulated; the message names it and what to do.
        DatasetError: the folder is already that of a run.
    """
    refuse(scenario)
    writer = RunWriter(folder)
    asked = scenario.model_dump(mode="json")
    facts = {"kind": "simulation", "system": {"name": "nginy", "version": "this checkout"}}
    writer.write_manifest(manifest(asked, {"link_method": "simulated"}) | facts)
    writer.write_table("plan", plan_frame(scenario.clients(), scenario.plans()))
    writer.write_calibration({"valid": True, "link_method": "simulated", "checks": []})
    began_s = time.monotonic()
    happened, by = run(scenario, progress)
    tables = happened.tables()
    for name, frame in tables.items():
        writer.write_table(name, frame)
    verdict = _judge(scenario, happened, tables)
    took_s = time.monotonic() - began_s
    told = {"loop": by, "simulated_per_s": happened.requests / took_s}
    writer.write_verdict(verdict.to_json() | told)
    return verdict


def run(
    scenario: Scenario, progress: Callable[[float], object] | None = None
) -> tuple[Happened, str]:
    """What happens, by the fastest loop that is exact; and which it was, and why."""
    why = express.why_not(scenario)
    if not why:
        try:
            blind = "the algorithm does not look" if express.is_blind(scenario) else "told of load"
            return express.run(scenario, progress), f"express: {blind}"
        except express.NotExact as error:
            why = str(error)
    return loop.run(scenario, progress), f"general: {why}"


def _judge(scenario: Scenario, happened: Happened, tables: Mapping[str, pd.DataFrame]) -> Verdict:
    window_s = scenario.warmup_s, scenario.duration_s
    exact = reference(scenario)
    checks = [
        _conservation(scenario, happened, tables),
        _little(scenario, tables, window_s),
        _theory(exact, served_interval(tables["requests"], window_s)),
    ]
    labels = filter(None, ("simulation", settling_label(scenario)))
    return Verdict(tuple(checks), labels=tuple(labels))


def served_interval(requests: pd.DataFrame, window_s: tuple[float, float]) -> Interval:
    """Mean time at the backends (ms) of requests in the window, by batches in order of time."""
    inside = requests[requests["intended_s"].between(*window_s) & (requests["status"] == "ok")]
    return batch_means((inside["wait_ms"] + inside["service_ms"]).to_numpy())


def _conservation(
    scenario: Scenario, happened: Happened, tables: Mapping[str, pd.DataFrame]
) -> Check:
    problems = conserved(tables["requests"], happened.finals)
    if scenario.protocol == "tcp" and scenario.workload.alone:
        problems += carried(tables["requests"], tables["connections"])
    unended = int((tables["requests"]["status"] == "in_flight").sum())
    problems += [f"{unended} requests never ended"] if unended else []
    left = happened.open_leases
    problems += [f"{left} connections were never given back"] if left else []
    answered = int((tables["requests"]["status"] == "ok").sum())
    said = f"clients, balancers and {len(happened.finals)} backends agree on {answered} answers"
    return problems_check("conservation", problems, said)


def _little(
    scenario: Scenario, tables: Mapping[str, pd.DataFrame], window_s: tuple[float, float]
) -> Check:
    if scenario.protocol == "udp" or scenario.balancer.queue != QueueSettings():
        return problems_check("little's law", [], "nothing to compare")
    balancer = scenario.balancers()[0]
    problems, compared = [], 0
    for name in scenario.backend_ids()[:MOST_COMPARED]:
        ways = scenario.topology.specs_between
        specs = (*ways(balancer, name), *ways(name, balancer))
        if any(spec.loss_pct for spec in specs):
            continue
        trip_s = sum(spec.delay_ms for spec in specs) / 1e3
        law = little_at(name, tables["connections"], tables["samples"], window_s, trip_s)
        if law is not None:
            compared += 1
            if not law.ok:
                problems.append(
                    f"{name}: {law.in_flight_sampled:.2f} open as sampled, "
                    f"{law.rate_times_stay:.2f} by records (tolerance {law.tolerance:.2f})"
                )
    return problems_check("little's law", problems, f"holds at {compared} backends")


MOST_COMPARED = 64


def _theory(exact: Reference, measured: Interval) -> Check:
    if exact.value_ms is None:
        return Check("theory", True, f"not compared: {exact.why}")
    # Twice the half-width of 95 %: a sound run fails once in ten thousand.
    slack_ms = measured.high - measured.low + exact.value_ms * THEORY_PCT / 100
    said = (
        f"{measured.mean:.2f} ms [{measured.low:.2f}, {measured.high:.2f}] at the backends, "
        f"{exact.value_ms:.2f} ms by {exact.why}"
    )
    return Check("theory", abs(measured.mean - exact.value_ms) <= slack_ms, said)
