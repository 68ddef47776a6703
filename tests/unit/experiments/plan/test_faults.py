"""Faults as a scenario file writes them."""

import pytest

from experiments.plan.faults import ACTIONS, Fault
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
    assert [(each.at_s, each.action, each.subject, each.value) for each in read] == [
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
        ([{"at": "5 s", "kill": "b9"}], r"kill b9 at 5 s: unknown backend b9; there are: b1, b2"),
        ([{"at": "30 s", "kill": "b1"}], r"kill b1 at 30 s: the load ends at 30 s"),
        ([{"at": "-1 s", "kill": "b1"}], r"'-1 s' is not a time such as 5 s"),
        ([{"at": "soon", "kill": "b1"}], r"'soon' is not a time"),
        ([{"at": "5 s", "slow": "b1"}], r"slow: 'b1' is not somebody and a value such as b1 x0.25"),
        ([{"at": "5 s", "slow": "b1 x0"}], "expected a value above 0"),
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
        ([{"at": "5 s", "loss": "c1 120 %"}], "loss c1 120 % at 5 s: expected 0 to 100 %"),
        ([{"at": "5 s", "loss": "c1 0.2"}], "'c1 0.2' is not somebody and a value such as b1 20 %"),
        ([{"at": "5 s", "cut": "c9"}], "cut c9 at 5 s: unknown link c9; there are: c1"),
        ([{"at": "5 s", "rate": "b1 5 Mbit/s"}], "that link has no rate_mbps to be changed"),
        ([{"at": "5 s", "partition": ["b1", "x"]}], "unknown host x"),
        ([{"at": "5 s", "restart": "b1"}], "unknown balancer b1; there are: lb"),
        ([{"at": "5 s", "flap": "b1", "period": "2 s"}], "expected {at: 5 s, flap: b2, period"),
        (
            [{"at": "5 s", "flap": "b1", "period": "2 s", "duty": "150 %", "until": "9 s"}],
            "duty '150 %': expected 50 %",
        ),
    ],
)
def test_what_makes_no_sense_is_named(entries: list[object], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse_scenario({"faults": entries}, "here.yaml")


def test_every_kind_is_read_and_written_in_the_same_spelling() -> None:
    entries: list[dict[str, object]] = [
        {"at": "1 s", "pause": "b1"},
        {"at": "2 s", "reset_after": "b2 1000 bytes"},
        {"at": "3 s", "lie": "b2 x0.1"},
        {"at": "4 s", "report_delay": "b2 2 s"},
        {"at": "5 s", "loss": "c1 20 %"},
        {"at": "6 s", "delay": "c2-s1 50 ms"},
        {"at": "7 s", "cut": "b3"},
        {"at": "8 s", "partition": ["b3", "b4"]},
        {"at": "9 s", "restore": ["b3", "b4"]},
        {"at": "10 s", "hang": "b4"},
        {"at": "11 s", "restart": "lb"},
    ]
    read = faults(*entries)
    assert [each.model_dump() for each in read] == entries
    assert {each.action for each in read} | {"kill", "slow", "drain", "rate"} == set(ACTIONS)
    assert read[7].hosts == ["b3", "b4"]


def test_a_link_that_flaps_is_written_out() -> None:
    read = faults(
        {"at": "5 s", "flap": "b2", "period": "4 s", "duty": "25 %", "until": "12 s"},
    )
    assert [(each.at_s, str(each)) for each in read] == [
        (5.0, "cut b2"),
        (6.0, "restore b2"),
        (9.0, "cut b2"),
        (10.0, "restore b2"),
    ]


def test_chaos_is_written_out_and_repeats_itself() -> None:
    asked = {"chaos": {"rate_per_min": 30, "lasting_s": 3}, "duration_s": 120}
    scenario = parse_scenario(asked, "here.yaml")
    assert scenario.chaos is None
    assert len(scenario.faults) > 10
    assert scenario.faults == parse_scenario(asked, "here.yaml").faults
    assert scenario.faults != parse_scenario({**asked, "seed": 2}, "here.yaml").faults
    stored = scenario.model_dump(mode="json")
    assert Scenario.model_validate(stored).faults == scenario.faults
    assert {each.action for each in scenario.faults} == {"kill", "pause", "slow", "cut", "restore"}


def test_chaos_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"chaos.kinds: stun: expected kill, pause"):
        parse_scenario({"chaos": {"kinds": ["stun"]}}, "here.yaml")


@pytest.mark.parametrize(
    ("entry", "links"),
    [
        ({"cut": "b1"}, {"b1-s1"}),
        ({"loss": "c2-s1 5 %"}, {"c2-s1"}),
        ({"partition": ["b1", "b2"]}, {"b1-s1", "b2-s1"}),
        ({"kill": "b1"}, set()),
    ],
)
def test_links_that_a_fault_changes_are_emulated_from_the_start(
    entry: dict[str, object], links: set[str]
) -> None:
    scenario = parse_scenario({"faults": [{"at": "5 s", **entry}]}, "here.yaml")
    assert {link.name for link in scenario.changing_topology().links if link.changes} == links


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
