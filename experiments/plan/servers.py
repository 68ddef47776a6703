"""Which scenarios a real server can carry out, and which need the emulated backends. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.plan.scenario import Scenario

HTTP_KINDS = ("http", "wrk")
"""Kinds of workload that ask over HTTP, as real servers answer."""
REAL_FAULTS = ("kill", "pause")
"""What can be done to a program that obeys signals alone."""
_EMULATED = "or backends.server: emulated"


def check_servers(scenario: "Scenario") -> None:
    """Raise ValueError, with place, value and remedy, for what cannot be had together."""
    kind, server = scenario.workload.kind, scenario.backends.server
    if server == "emulated":
        if kind in HTTP_KINDS:
            raise ValueError(
                f"workload.kind {kind}: asks over HTTP, which emulated backends do not speak: "
                "backends.server: nginx (or command), or workload.kind: requests"
            )
        return
    for problem in _beyond(scenario):
        raise ValueError(f"{problem}, {_EMULATED}")
    if kind == "wrk":
        _check_wrk(scenario)


def _check_wrk(scenario: "Scenario") -> None:
    """What its command line has no words for."""
    for key, value in (
        ("duration_s", scenario.duration_s),
        ("workload.timeout_ms", scenario.workload.timeout_ms / 1000),
    ):
        if value != round(value):
            raise ValueError(f"{key}: {value:g} s: wrk takes whole seconds")
    if scenario.system == "direct" or len(scenario.balancers()) > 1:
        raise ValueError(
            f"system {scenario.system}, {len(scenario.balancers())} balancers: wrk connects to one "
            "address: one balancer, or workload.kind: http"
        )


def _beyond(scenario: "Scenario") -> Iterator[str]:
    """What only emulated backends have."""
    kind, backends, balancer = scenario.workload.kind, scenario.backends, scenario.balancer
    server = f"backends.server {backends.server}"
    if scenario.protocol != "tcp":
        yield f"protocol {scenario.protocol}: {server} answers HTTP over TCP alone: protocol: tcp"
    if kind not in HTTP_KINDS:
        yield (
            f"workload.kind {kind}: plans service demands or uploads, which {server} knows nothing "
            "of: workload.kind: http (rate_rps) or wrk"
        )
    defaults = type(backends)()
    for name in ("servers", "queue_limit", "speeds"):
        if (asked := getattr(backends, name)) != getattr(defaults, name):
            yield f"backends.{name} {asked}: {server} is as fast as it is: leave it out"
    if scenario.algorithm in ("adaptive", "prequal"):
        yield (
            f"algorithm {scenario.algorithm}: backends tell it their load, {server} does not: "
            "another algorithm"
        )
    if balancer.load_reports is True or balancer.agent_check not in ("auto", None):
        yield f"balancer.load_reports, agent_check: {server} has neither: leave them out"
    for fault in scenario.faults:
        if fault.kind and fault.kind.subject == "backend" and fault.action not in REAL_FAULTS:
            able = ", ".join(REAL_FAULTS)
            yield f"faults: {fault}: {server} obeys signals alone: {able}"
