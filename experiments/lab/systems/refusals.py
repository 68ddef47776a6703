"""What a scenario asks of a balancer that only nginy has."""

from collections.abc import Collection

from experiments.plan.scenario import Scenario, ScenarioError


def refuse_settings(
    scenario: Scenario,
    system: str,
    *,
    allowed: Collection[str],
    options: Collection[str] = (),
    asks_agents: bool = False,
) -> None:
    """Raise ScenarioError for settings of `balancer` beyond `allowed` that are not the default, for
    options of the algorithm beyond `options`, and for faults that need an agent if it asks none."""
    defaults = type(scenario.balancer)()
    for name in type(scenario.balancer).model_fields:
        if name not in allowed and getattr(scenario.balancer, name) != getattr(defaults, name):
            can = ", ".join(allowed) or "none of them"
            raise ScenarioError(f"system {system}: balancer.{name} is nginy's own; it has: {can}")
    if beyond := sorted(scenario.algorithm_options.keys() - set(options)):
        raise ScenarioError(
            f"system {system}: algorithm_options.{beyond[0]} is nginy's own; leave it out"
        )
    actions = {fault.action for fault in scenario.faults}
    if "drain" in actions and not asks_agents:
        raise ScenarioError(f"system {system}: it asks no agents, so `drain` is none of its faults")
    if "restart" in actions and system == "direct":
        raise ScenarioError("system direct: there is no balancer to `restart`")
    if actions & {"lie", "report_delay"}:
        raise ScenarioError(
            f"system {system}: it reads no load reports, so `lie` and `report_delay` are none of "
            "its faults"
        )
