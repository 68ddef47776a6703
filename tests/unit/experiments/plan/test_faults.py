"""Faults as a scenario file writes them."""

import pytest

from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario


def faults(*entries: dict[str, object]) -> tuple[Fault, ...]:
    return parse_scenario({"faults": list(entries)}, "here.yaml").faults


def test_the_spelling_of_the_file() -> None:
    read = faults(
        {"at": "5 s", "kill": "b2"},
        {"at": "5 s", "slow": "b1 x0.25"},
        {"at": "8s", "drain": "b3"},
        {"at": 12, "restore": "b2"},
        {"at": "12500 ms", "restore": "b1"},
    )
    assert [(each.at_s, each.action, each.backend, each.factor) for each in read] == [
        (5.0, "kill", "b2", None),
        (5.0, "slow", "b1", 0.25),
        (8.0, "drain", "b3", None),
        (12.0, "restore", "b2", None),
        (12.5, "restore", "b1", None),
    ]
    assert [str(each) for each in read[:3]] == ["kill b2", "slow b1 x0.25", "drain b3"]


def test_a_manifest_says_it_in_the_same_spelling() -> None:
    scenario = parse_scenario({"faults": [{"at": "5 s", "slow": "b1 x0.25"}]}, "here.yaml")
    stored = scenario.model_dump(mode="json")
    assert stored["faults"] == [{"at": "5 s", "slow": "b1 x0.25"}]
    assert Scenario.model_validate(stored) == scenario
    assert Scenario.model_validate(stored).digest() == scenario.digest() != Scenario().digest()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"at": "5 s", "kill": "b9"}], r"kill b9 at 5 s: unknown backend; there are: b1, b2"),
        ([{"at": "30 s", "kill": "b1"}], r"kill b1 at 30 s: the load ends at 30 s"),
        ([{"at": "-1 s", "kill": "b1"}], r"'-1 s' is not a time such as 5 s"),
        ([{"at": "soon", "kill": "b1"}], r"'soon' is not a time"),
        ([{"at": "5 s", "slow": "b1"}], r"'b1' is not a backend and a factor such as b1 x0.25"),
        ([{"at": "5 s", "slow": "b1 x0"}], "factor"),
        ([{"at": "5 s", "stun": "b1"}], "expected {at: 5 s, ACTION: backend}"),
        ([{"at": "5 s", "kill": "b1", "drain": "b2"}], "expected {at"),
        ([{"kill": "b1"}], "expected {at"),
        (["kill b1"], "faults.0"),
        ([{"at": "5 s", "restore": "b1"}], "restore b1 at 5 s: nothing was done to it before"),
        (
            [{"at": "5 s", "kill": "b1"}, {"at": "4 s", "restore": "b1"}],
            "restore b1 at 4 s: nothing was done",
        ),
        (
            [{"at": "5 s", "kill": "b1"}, {"at": "6 s", "drain": "b1"}],
            "drain b1 at 6 s: it is killed and not restored by then",
        ),
        ([{"at": "5 s", "kill": "b1"}, {"at": "6 s", "kill": "b1"}], "it is killed"),
    ],
)
def test_what_makes_no_sense_is_named(entries: list[object], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario({"faults": entries}, "here.yaml")


def test_a_backend_may_be_drained_and_then_killed_and_so_again_after_it_was_restored() -> None:
    assert (
        len(
            faults(
                {"at": "1 s", "drain": "b1"},
                {"at": "2 s", "kill": "b1"},
                {"at": "3 s", "restore": "b1"},
                {"at": "4 s", "kill": "b1"},
            )
        )
        == 4
    )
