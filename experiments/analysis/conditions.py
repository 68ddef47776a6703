"""Under which conditions a run was made, as far as numbers and captions need to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.analysis.capacity import capacities
from experiments.plan.faults import Fault


@dataclass(frozen=True, slots=True)
class Conditions:
    """From a manifest's scenario. Loss, delay (one way) and rate are what the first client's link
    does to what leaves the client."""

    algorithm: str
    seed: int
    clients: int
    backends: tuple[str, ...]
    weights: tuple[int, ...]
    loss_pct: float
    delay_ms: float
    rate_mbps: float | None
    load: float | None
    """None: what is offered does not follow from the backends' capacity."""
    timeout_ms: float
    warmup_s: float
    duration_s: float
    protocol: str = "tcp"
    system: str = "nginy"
    speeds: tuple[float, ...] = ()
    """Empty: all alike."""
    faults: tuple[Fault, ...] = ()
    label: str | None = None
    simulated: bool = False
    shape: str = "star"
    kind: str = "requests"

    @property
    def offered(self) -> str:
        """What was asked of the system: `open loop at load 0.7`, `bulk transfers`."""
        return f"in virtual time, {self._asked}" if self.simulated else self._asked

    @property
    def _asked(self) -> str:
        if self.load is not None:
            lived = "long-lived connections, " if self.kind == "long_lived" else ""
            return f"{lived}open loop at load {self.load:g}"
        return {
            "closed": "closed loop (latencies are not those of an open loop)",
            "bulk": "bulk transfers",
            "trace": "a trace",
            "calls": "calls",
            "http": "open loop of HTTP requests",
            "wrk": "wrk, a closed loop (latencies are not those of an open loop)",
        }.get(self.kind, self.kind)

    @property
    def window_s(self) -> tuple[float, float]:
        """Measured interval [from, to), in seconds since the start of load."""
        return self.warmup_s, self.duration_s

    @property
    def name(self) -> str:
        """What is compared: `least_conn`, `nginx:least_conn`, or its label."""
        if self.label:
            return self.label
        return self.algorithm if self.system == "nginy" else f"{self.system}:{self.algorithm}"

    @property
    def overloaded(self) -> bool:
        """Whether queues grow without end, so that no mean and no percentile of latency exists."""
        return self.load is not None and self.load >= 1

    def capacities(self, window_s: tuple[float, float] | None = None) -> tuple[float, ...]:
        """What each backend could take in that time (default: the measured one): in proportion to
        its weight, or where none is set to its speed, and only while it was up."""
        equal = len(set(self.weights)) == 1
        shares = self.speeds if self.speeds and equal else self.weights
        return capacities(self.backends, shares, self.faults, window_s or self.window_s)

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> "Conditions":
        """Read `manifest["scenario"]`; KeyError names a setting it lacks."""
        scenario = manifest["scenario"]
        network, workload = scenario["network"], scenario["workload"]
        there = network_of(network)
        count = len(there.backends)
        return cls(
            algorithm=scenario["algorithm"],
            seed=scenario["seed"],
            clients=there.clients,
            backends=there.backends,
            weights=tuple(scenario["backends"]["weights"]) or (1,) * count,
            loss_pct=there.link["loss_pct"],
            delay_ms=there.link["delay_ms"],
            rate_mbps=there.link["rate_mbps"],
            load=workload.get("load"),
            timeout_ms=workload["timeout_ms"],
            warmup_s=scenario["warmup_s"],
            duration_s=scenario["duration_s"],
            protocol=scenario.get("protocol", "tcp"),  # runs of version 1 know no other
            system=scenario.get("system", "nginy"),
            speeds=tuple(scenario["backends"].get("speeds", ())),
            faults=tuple(Fault.model_validate(fault) for fault in scenario.get("faults", ())),
            label=scenario.get("label"),
            simulated=manifest.get("kind") == "simulation",
            shape=network.get("shape", "star"),
            kind=workload.get("kind", "requests"),
        )


class There(NamedTuple):
    """Of a network: how many clients, which backends, the first client's link."""

    clients: int
    backends: tuple[str, ...]
    link: Mapping[str, Any]


def network_of(network: Mapping[str, Any]) -> There:
    """From a manifest's `network`; KeyError names a setting it lacks."""
    if network.get("shape") != "custom":
        backends = tuple(f"b{index + 1}" for index in range(network["backends"]))
        return There(network["clients"], backends, _leaving(network["client_link"]))
    hosts = network["hosts"]
    clients, backends = (
        tuple(host["name"] for host in hosts if host["role"] == role)
        for role in ("client", "backend")
    )
    (own,) = (link for link in network["links"] if clients[0] in link["between"])
    return There(len(clients), backends, _leaving(own))


def _leaving(link: Mapping[str, Any]) -> dict[str, Any]:
    up = {name: value for name, value in (link.get("up") or {}).items() if value is not None}
    return {**link, **up}
