"""Which settings of a scenario the simulation honours, and which it refuses, by name.

Whatever only packets can decide is refused with the words "make experiment".
"""

from collections.abc import Mapping

from experiments.plan.scenario import Scenario, ScenarioError
from nginy.config.strategies import StrategySettings
from topologies.shapes.shape import LinkSpec

HONOURED = {
    "schema_version",
    "name",
    "label",
    "protocol",
    "algorithm",
    "algorithm_options",
    "network.shape",
    "network.clients",
    "network.backends",
    "network.balancers",
    "network.spread",
    "network.far_backends",
    "network.leaves",
    "network.spines",
    "network.hosts",
    "network.switches",
    "network.links",
    "network.client_link",
    "network.balancer_link",
    "network.backend_link",
    "network.between_sites",
    "network.trunk",
    "backends.servers",
    "backends.queue_limit",
    "backends.speeds",
    "backends.weights",
    "workload",
    "balancer.max_connections",
    "balancer.max_fails",
    "balancer.fail_timeout_s",
    "balancer.load_reports",
    "balancer.queue",
    "balancer.retries",
    "balancer.all_down",
    "duration_s",
    "warmup_s",
    "seed",
}
"""And change the result if changed, where they have any effect."""
WITHOUT_EFFECT = {
    "capture": "there are no packets",
    "keep_captures": "there are no packets",
    "precision": "no machine is late in virtual time",
    "network.congestion_control": "answers within the slow start of every congestion control",
}
REFUSED = {
    "system": "nginy's own objects are simulated",
    "faults": "what a fault does is decided by packets",
    "chaos": "what a fault does is decided by packets",
    "backends.server": "a real server is no model of one",
    "backends.argv": "a real server is no model of one",
    "background": "flows compete for links packet by packet",
    "network.bottleneck": "flows compete for it packet by packet",
    "balancer.health_check": "nothing fails here that it could find",
    "balancer.agent_check": "nobody is drained here",
    "balancer.slow_start": "nothing comes back here",
    "balancer.live_connections": "nothing goes down here",
    "balancer.udp": "sessions end with their answers here",
}
MOST_LOSS_PCT = 3.0
SLOW_START_BYTES = 1448 * 10 * (2**12 - 1)
"""Answers up to here are modelled as never leaving slow start."""


def refuse(scenario: Scenario) -> None:
    """Raise ScenarioError, naming the key and what to do, for what is not simulated."""
    defaults = Scenario()
    for dotted, why in REFUSED.items():
        value = _value(scenario, dotted)
        if value is not None and value != _value(defaults, dotted):
            raise ScenarioError(f"simulation: {dotted}: {why}: make experiment")
    if scenario.workload.kind == "bulk":
        raise ScenarioError("simulation: workload.kind bulk: packets decide here: make experiment")
    for edge, spec in scenario.topology.specs.items():
        if why := _unknown(spec):
            raise ScenarioError(f"simulation: link {edge}: {why}: make experiment")
    most = scenario.workload.most_response_bytes
    if scenario.protocol == "tcp" and most > SLOW_START_BYTES:
        raise ScenarioError(
            f"simulation: workload.response_bytes {most:g}: beyond {SLOW_START_BYTES} congestion "
            "control decides: make experiment"
        )


def _unknown(spec: LinkSpec) -> str:
    if spec.loss_pct > MOST_LOSS_PCT:
        return f"loss_pct {spec.loss_pct:g}: above {MOST_LOSS_PCT:g} packets decide"
    if spec.loss_burst_packets is not None:
        return "loss_burst_packets: which packets share a burst is decided by packets"
    if spec.reorder_pct:
        return "reorder_pct: what reordering does is decided by packets"
    if spec.duplicate_pct:
        return "duplicate_pct: what a second copy does is decided by packets"
    if spec.queue_packets is not None:
        return "queue_packets: a queue that overflows is decided by packets"
    return ""


def _value(scenario: Scenario, dotted: str) -> object:
    value: object = scenario
    for name in dotted.split("."):
        value = getattr(value, name, None)
    return value


def probes(settings: StrategySettings) -> bool:
    """Whether the algorithm asks backends."""
    return settings.type == "prequal"


def field_of(dotted: str, lists: Mapping[str, object]) -> bool:
    """Whether a setting, or the group that it belongs to, is in one of the lists."""
    parts = dotted.split(".")
    return any(".".join(parts[:length]) in lists for length in range(1, len(parts) + 1))
