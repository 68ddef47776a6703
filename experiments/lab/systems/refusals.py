"""What a scenario asks of a balancer that only nginy has."""

from collections.abc import Collection

from experiments.plan.scenario import Scenario, ScenarioError


def refuse_settings(scenario: Scenario, system: str, *, allowed: Collection[str]) -> None:
    """Raise ScenarioError for settings of `balancer` beyond `allowed` that are not the default, for
    options of the algorithm, and for faults that need an agent."""
    defaults = type(scenario.balancer)()
    for name in type(scenario.balancer).model_fields:
        if name not in allowed and getattr(scenario.balancer, name) != getattr(defaults, name):
            can = ", ".join(allowed) or "none of them"
            raise ScenarioError(f"system {system}: balancer.{name} is nginy's own; it has: {can}")
    if scenario.algorithm_options:
        raise ScenarioError(f"system {system}: algorithm_options are nginy's own; leave them out")
    if any(fault.action == "drain" for fault in scenario.faults):
        raise ScenarioError(f"system {system}: it asks no agents, so `drain` is none of its faults")
