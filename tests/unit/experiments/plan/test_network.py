"""Networks as a scenario file chooses them."""

from typing import Any

import pytest

from experiments.plan.network import SHAPES
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario

CUSTOM = {
    "shape": "custom",
    "hosts": [
        {"name": "user", "role": "client"},
        {"name": "front", "role": "balancer"},
        {"name": "web1", "role": "backend"},
        {"name": "web2", "role": "backend"},
    ],
    "switches": ["s1", "s2"],
    "links": [
        {"between": ["user", "s1"], "delay_ms": 5, "down": {"rate_mbps": 10}},
        {"between": ["front", "s1"]},
        {"between": ["web1", "s2"]},
        {"between": ["web2", "s2"]},
        {"between": ["s1", "s2"], "delay_ms": 2, "loss_pct": 1, "loss_burst_packets": 5},
    ],
}


def of(**network: Any) -> Scenario:
    return parse_scenario({"network": network}, "here.yaml")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_clients_balancers_and_backends_and_is_stored_as_it_is(shape: str) -> None:
    scenario = of(**CUSTOM) if shape == "custom" else of(shape=shape)
    assert scenario.clients()
    assert scenario.balancers()
    assert len(scenario.backend_ids()) >= 2
    stored = scenario.model_dump(mode="json")
    assert Scenario.model_validate(stored) == scenario
    assert Scenario.model_validate(stored).digest() == scenario.digest()


def test_a_custom_network_is_as_listed() -> None:
    scenario = of(**CUSTOM)
    assert (scenario.clients(), scenario.balancers()) == (("user",), ("front",))
    assert scenario.topology.way("user", "web2") == ("user->s1", "s1->s2", "s2->web2")
    up, down = scenario.topology.specs_between("user", "front"), scenario.topology.specs["s1->user"]
    assert up[0].rate_mbps is None
    assert (down.rate_mbps, down.delay_ms) == (10, 5)
    assert scenario.topology.specs["s2->s1"].loss_burst_packets == 5


def test_directions_may_differ() -> None:
    link = {"delay_ms": 20, "rate_mbps": 10, "down": {"rate_mbps": 100}, "up": {"loss_pct": 2}}
    leaving, reaching = of(client_link=link).topology.link("c1").specs.values()
    assert (leaving.rate_mbps, reaching.rate_mbps) == (10, 100)
    assert (leaving.loss_pct, reaching.loss_pct) == (2, 0)
    assert leaving.delay_ms == reaching.delay_ms == 20


def test_a_queue_in_bandwidth_delay_products() -> None:
    bottleneck = {"delay_ms": 10, "rate_mbps": 48, "queue_bdp": 0.5}
    scenario = of(shape="dumbbell", bottleneck=bottleneck)
    assert scenario.topology.link("s1-s2").leaving.queue_packets == round(
        0.5 * 48e6 * 0.02 / (8 * 1514)
    )


def test_congestion_control_by_role() -> None:
    asked = of(congestion_control={"client": "bbr"})
    assert asked.network.algorithms() == {"client": "bbr", "balancer": "cubic", "backend": "cubic"}
    assert set(of(congestion_control="reno").network.algorithms().values()) == {"reno"}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({"shape": "ring"}, "network: .*expected tags: 'star', 'chain'"),
        ({"shape": "two_sites", "far_backends": 4}, "far_backends is 4, expected 1 to 3"),
        ({"shape": "chain", "balancers": 0}, "network.balancers"),
        ({"client_link": {"queue_bdp": 2}}, "queue_bdp needs a rate_mbps"),
        ({"client_link": {"down": {"jitter_ms": 5}}}, "jitter_ms is 5"),
        ({**CUSTOM, "links": CUSTOM["links"][:4]}, "cannot be reached"),
        ({**CUSTOM, "hosts": CUSTOM["hosts"][:3]}, "every link a known host"),
        ({"congestion_control": {"router": "bbr"}}, "router"),
    ],
)
def test_a_network_that_cannot_be_is_named(network: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        of(**network)
