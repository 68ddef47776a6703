"""The schedule of faults is carried out: who is told what, when, and how it is undone."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from experiments.lab.backends import Backends
from experiments.plan.faults import RESTORE, Fault, links_of
from topologies.shapes.shape import LinkSpec, Shape


class AppliedFault(NamedTuple):
    """What was done, and when: seconds on CLOCK_MONOTONIC."""

    fault: Fault
    applied_s: float

    @property
    def row(self) -> dict[str, Any]:
        """Of table `faults`, but for its clock."""
        fault = self.fault
        return {
            "at_s": fault.at_s,
            "applied_s": self.applied_s,
            "action": fault.action,
            "subject": fault.subject,
            "value": fault.value,
        }


class Links(Protocol):
    """The part of `topologies.build.network.Network` that is needed here."""

    shape: Shape

    def change_links(self, specs: Mapping[str, LinkSpec]) -> None:
        """From now on these directions do this."""


class Faults:
    """All of a run."""

    def __init__(
        self,
        faults: Sequence[Fault],
        backends: Backends,
        network: Links,
        restart: Callable[[str], None],
    ) -> None:
        """Nothing is applied yet. `restart` gives a balancer, by its host, another process."""
        self._due = sorted(faults, key=lambda fault: fault.at_s)
        self._backends = backends
        self._network = network
        self._restart = restart
        self._links = {host.name: network.shape.link_of(host.name) for host in network.shape.hosts}
        self._links |= {link.name: link for link in network.shape.links}
        self._suffering: dict[str, set[str]] = {}
        self.applied: list[AppliedFault] = []

    def apply_due(self, t0_s: float) -> float:
        """Apply what is due; seconds until the next thing is, or infinity.

        `t0_s`: start of load, CLOCK_MONOTONIC. Raises ProcessFailed or LinkDead if somebody does
        not obey.
        """
        elapsed_s = time.monotonic() - t0_s
        self._backends.prepare(self._due, elapsed_s)
        while self._due and self._due[0].at_s <= elapsed_s:
            fault = self._due.pop(0)
            self.applied.append(AppliedFault(fault, self._apply(fault)))
            elapsed_s = time.monotonic() - t0_s
        return self._due[0].at_s - elapsed_s if self._due else float("inf")

    def apply_now(self, fault: Fault) -> AppliedFault:
        """One that is not on the schedule; who is killed so can be restored at once. Errors as in
        `apply_due`."""
        self.applied.append(AppliedFault(fault, self._apply(fault)))
        if fault.action == "kill":
            self._backends.stand_by(fault.subject)
        return self.applied[-1]

    def _apply(self, fault: Fault) -> float:
        """When it was carried out."""
        if fault.action == RESTORE:
            return self._undo(fault)
        assert fault.kind is not None
        self._suffering.setdefault(fault.subject, set()).add(fault.kind.subject)
        if fault.kind.subject == "backend":
            return self._backends.apply(fault)
        if fault.kind.subject == "balancer":
            applied_s = time.monotonic()
            self._restart(fault.subject)
            return applied_s
        return self._change(fault, _changed)

    def _undo(self, fault: Fault) -> float:
        done = self._suffering.pop(fault.subject, set())
        applied_s = time.monotonic()
        if done & {"link", "hosts"}:
            applied_s = self._change(fault, lambda spec, _: spec)
        if "backend" in done:
            applied_s = self._backends.apply(fault)
        return applied_s

    def _change(self, fault: Fault, change: Callable[[LinkSpec, Fault], LinkSpec]) -> float:
        """What the shape asks of each direction, changed."""
        names = {name: link.name for name, link in self._links.items()}
        self._network.change_links(
            {
                direction: change(spec, fault)
                for name in links_of(fault, names)
                for direction, spec in self._links[name].specs.items()
            }
        )
        return time.monotonic()


def _changed(spec: LinkSpec, fault: Fault) -> LinkSpec:
    value = fault.value or 0.0
    if fault.action == "delay":
        return replace(spec, delay_ms=value, jitter_ms=min(spec.jitter_ms, value), reorder_pct=0.0)
    if fault.action == "rate":
        return replace(spec, rate_mbps=value)
    loss_pct = value if fault.action == "loss" else 100.0
    doubled_pct = spec.duplicate_pct if loss_pct < 100 else 0.0
    return replace(spec, loss_pct=loss_pct, loss_burst_packets=None, duplicate_pct=doubled_pct)
