import pytest

from experiments.plan.background import BackgroundFlow
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario

LIMITED = {"shape": "dumbbell", "bottleneck": {"rate_mbps": 20}}


def scenario(*flows: dict[str, object], **network: object) -> Scenario:
    return parse_scenario({"network": network, "background": list(flows)}, "x.yaml")


def test_a_flow_takes_at_most_what_the_narrowest_link_on_its_way_lets_through() -> None:
    made = scenario({"source": "c1", "destination": "b1", "flows": 3}, **LIMITED)
    (flow,) = made.background
    assert str(flow) == "c1>b1"
    assert flow.most_mbps(made.topology) == 20
    slow = BackgroundFlow(source="c1", destination="b1", flows=3, rate_mbps=2)
    assert slow.most_mbps(made.topology) == 6


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ({"source": "c9", "destination": "b1"}, "background[0]: no host 'c9'; there are: c1, c2"),
        ({"source": "c1", "destination": "c1"}, "background[0]: from c1 to itself"),
        ({"source": "c1", "destination": "b1"}, "background[0]: c1>b1: up to 200 Mbit/s"),
        ({"source": "c1", "destination": "b1", "protocol": "udp"}, "needs a rate_mbps"),
        (
            {"source": "c1", "destination": "b1", "flows": 8, "rate_mbps": 30},
            "background[0]: c1>b1: up to 200 Mbit/s",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(flow: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        scenario(flow)
    assert said in str(error.value)


def test_without_any_the_scenario_has_the_digest_it_always_had() -> None:
    assert scenario().digest() == Scenario().digest()
    with_one = scenario({"source": "c1", "destination": "b1", "rate_mbps": 1})
    assert with_one.digest() != Scenario().digest()
