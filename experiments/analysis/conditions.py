"""Under which conditions a run was made, as far as numbers and captions need to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.analysis.capacity import capacities
from experiments.plan.faults import Fault


@dataclass(frozen=True, slots=True)
class Conditions:
    """From a manifest's scenario. Loss, delay (one way) and rate are the client links'."""

    algorithm: str
    seed: int
    clients: int
    backends: tuple[str, ...]
    weights: tuple[int, ...]
    loss_pct: float
    delay_ms: float
    rate_mbps: float | None
    load: float
    timeout_ms: float
    warmup_s: float
    duration_s: float
    protocol: str = "tcp"
    system: str = "nginy"
    speeds: tuple[float, ...] = ()
    """Empty: all alike."""
    faults: tuple[Fault, ...] = ()

    @property
    def window_s(self) -> tuple[float, float]:
        """Measured interval [from, to), in seconds since the start of load."""
        return self.warmup_s, self.duration_s

    @property
    def name(self) -> str:
        """What is compared: `least_conn`, `nginx:least_conn`."""
        return self.algorithm if self.system == "nginy" else f"{self.system}:{self.algorithm}"

    @property
    def overloaded(self) -> bool:
        """Whether queues grow without end, so that no mean and no percentile of latency exists."""
        return self.load >= 1

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
        count = network["backends"]
        link = network["client_link"]
        return cls(
            algorithm=scenario["algorithm"],
            seed=scenario["seed"],
            clients=network["clients"],
            backends=tuple(f"b{index + 1}" for index in range(count)),
            weights=tuple(scenario["backends"]["weights"]) or (1,) * count,
            loss_pct=link["loss_pct"],
            delay_ms=link["delay_ms"],
            rate_mbps=link["rate_mbps"],
            load=workload["load"],
            timeout_ms=workload["timeout_ms"],
            warmup_s=scenario["warmup_s"],
            duration_s=scenario["duration_s"],
            protocol=scenario.get("protocol", "tcp"),  # runs of version 1 know no other
            system=scenario.get("system", "nginy"),
            speeds=tuple(scenario["backends"].get("speeds", ())),
            faults=tuple(Fault.model_validate(fault) for fault in scenario.get("faults", ())),
        )
