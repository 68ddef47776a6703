"""One stream of random numbers per rule: what one rule carries changes no other rule's draws."""

import json

import pytest

from nginy.address import Address
from nginy.traffic.rule import stream
from tests.rules import CLIENT, World, world

DRAWS = 30


def two_rules(strategy: str) -> World:
    names = [f"b{number}" for number in range(1, 6)]
    backends = [{"id": name, "address": f"10.0.0.{number}:80"} for number, name in enumerate(names)]
    rules = [
        {
            "name": name,
            "clients": [f"0.0.0.0/0:{port}"],
            "targets": names,
            "strategy": {"type": strategy},
        }
        for port, name in enumerate(("web", "mail"), 80)
    ]
    return world(json.dumps({"backends": backends, "rules": rules}))


def draws(at_work: World, others_per_draw: int) -> list[str]:
    """Whom the first rule chooses, the second one being asked so often in between."""
    web, mail = at_work.rules
    chosen = []
    for _ in range(DRAWS):
        for number in range(others_per_draw):
            backend = mail.pick(Address("10.9.0.2", number), 0.0, ())
            assert backend is not None
        backend = web.pick(CLIENT, 0.0, ())
        assert backend is not None
        chosen.append(backend.id)
    return chosen


@pytest.mark.parametrize("strategy", ["random", "random_two"])
def test_traffic_of_another_rule_changes_no_draw(strategy):
    alone = draws(two_rules(strategy), 0)
    assert len(set(alone)) > 1
    for others_per_draw in (1, 3):
        assert draws(two_rules(strategy), others_per_draw) == alone


def test_rules_of_different_names_draw_differently_and_of_the_same_alike():
    def numbers(seed: int, name: str) -> list[float]:
        random = stream(seed, name)
        return [random.random() for _ in range(5)]

    assert numbers(1, "web") == numbers(1, "web")
    assert numbers(1, "web") != numbers(1, "mail")
    assert numbers(1, "web") != numbers(2, "web")
