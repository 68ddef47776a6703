"""Faults by hand against the state of a run, and as a scenario that repeats them. Pure."""

from collections.abc import Sequence

from experiments.plan.faults import RESTORE, Fault
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario

MOST_CLICKS = 200
"""Of a run: each is validated with all before it."""


def clicked(scenario: Scenario, faults: Sequence[Fault]) -> Scenario:
    """The scenario with these faults besides its own. Raises ScenarioError where they make no
    sense."""
    content = scenario.model_dump(mode="json")
    content["faults"] += [fault.model_dump(mode="json") for fault in faults]
    return parse_scenario(content, "by hand")


def check_click(scenario: Scenario, done: Sequence[Fault], fault: Fault) -> None:
    """Raise ValueError where `fault` cannot be carried out after those that were `done` by hand.

    Besides what no scenario may ask: who is paused obeys nothing, and of links only those of
    clients are prepared.
    """
    if len(done) >= MOST_CLICKS:
        raise ValueError(f"{MOST_CLICKS} faults by hand are the most of a run")
    backends, clients = scenario.backend_ids(), scenario.clients()
    about_link = fault.kind is not None and fault.kind.subject == "link"
    known = clients if about_link else backends
    known = (*clients, *backends) if fault.kind is None else known
    if fault.subject not in known:
        raise ValueError(f"{fault}: there are: {', '.join(known)}")
    try:
        clicked(scenario, [*done, fault])
    except ScenarioError as error:
        raise ValueError(str(error).removeprefix("by hand: ")) from None
    if fault.action not in (RESTORE, "kill") and "pause" in _ailments(scenario, done, fault):
        raise ValueError(f"{fault}: it is paused, restore it first")


def _ailments(scenario: Scenario, done: Sequence[Fault], until: Fault) -> set[str]:
    found: set[str] = set()
    before = [each for each in (*scenario.faults, *done) if each.at_s <= until.at_s]
    for fault in sorted(before, key=lambda each: each.at_s):
        if fault.subject == until.subject:
            found = set() if fault.action == RESTORE else found | {fault.action}
    return found
