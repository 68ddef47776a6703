from pathlib import Path

import pytest

from experiments.plan.click import MOST_LINE_BYTES, read_click
from experiments.plan.clicked import MOST_CLICKS, check_click, clicked
from experiments.plan.faults import Fault
from experiments.plan.scenario import Scenario, load_scenario, parse_scenario, write_scenario

ASKED = parse_scenario(
    {
        "name": "mine",
        "algorithm": "least_conn",
        "network": {"clients": 2, "backends": 3, "client_link": {"delay_ms": 20}},
        "duration_s": 30,
        "faults": [{"at": "2 s", "pause": "b3"}],
    },
    "test",
)


def fault(at_s: float, action: str, subject: str, value: float | None = None) -> Fault:
    return Fault(at_s=at_s, action=action, subject=subject, value=value)


DONE = [
    fault(5.123, "kill", "b2"),
    fault(6.5, "loss", "c1", 20),
    fault(7.001, "slow", "b1", 0.25),
    fault(9, "restore", "b2"),
    fault(29.999, "restore", "c1"),
]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"action":"kill","subject":"b2"}', fault(4, "kill", "b2")),
        (b'{"action":"restore","subject":"c1","value":null}', fault(4, "restore", "c1")),
        (b'{"action":"loss","subject":"c1","value":20}', fault(4, "loss", "c1", 20)),
        (b'{"action":"slow","subject":"b1","value":0.25}', fault(4, "slow", "b1", 0.25)),
    ],
)
def test_a_line_is_a_fault(line: bytes, expected: Fault) -> None:
    assert read_click(line).fault(4) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "Invalid JSON"),
        (b"kill b2", "Invalid JSON"),
        (b"[]", "object"),
        (b'{"action":"kill"}', "subject: Field required"),
        (b'{"action":"explode","subject":"b1"}', "action: Input should be 'kill'"),
        (b'{"action":"restart","subject":"lb"}', "action"),
        (b'{"action":"kill","subject":"b1; reboot"}', "subject"),
        (b'{"action":"kill","subject":"../b1"}', "subject"),
        (b'{"action":"kill","subject":"b1","value":3}', "kill takes no value"),
        (b'{"action":"slow","subject":"b1"}', "slow takes a value in x"),
        (b'{"action":"loss","subject":"c1","value":"20"}', "value"),
        (b'{"action":"loss","subject":"c1","value":-1}', "value"),
        (b'{"action":"delay","subject":"c1","value":1e999}', "value"),
        (b'{"action":"kill","subject":"b1","at_s":3}', "at_s"),
        (b'{"action":"kill","subject":"b1"}' + b" " * MOST_LINE_BYTES, "bytes"),
        (b'{"action":"kill","subject":"b\xff"}', "Invalid JSON"),
    ],
)
def test_any_other_line_is_refused_in_one_line(line: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_click(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (fault(10, "kill", "b9"), "kill b9: there are: b1, b2, b3"),
        (fault(10, "loss", "b1", 20), "there are: c1, c2"),
        (fault(10, "kill", "c1"), "there are: b1, b2, b3"),
        (fault(10, "restore", "lb"), "there are: c1, c2, b1, b2, b3"),
        (fault(10, "restore", "b2"), "nothing was done to it"),
        (fault(10, "slow", "b3", 0.5), "it is paused"),
        (fault(10, "loss", "c2", 101), "0 to 100"),
        (fault(30, "kill", "b1"), "the load ends at 30 s"),
    ],
    ids=str,
)
def test_what_cannot_be_done_then_is_refused(asked: Fault, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_click(ASKED, DONE[:4], asked)


def test_who_is_killed_can_only_be_restored() -> None:
    with pytest.raises(ValueError, match="killed"):
        check_click(ASKED, DONE[:1], fault(6, "slow", "b2", 0.5))
    check_click(ASKED, DONE[:1], fault(6, "restore", "b2"))


def test_who_is_paused_can_be_restored_or_killed() -> None:
    check_click(ASKED, [], fault(6, "restore", "b3"))
    check_click(ASKED, [], fault(6, "kill", "b3"))


def test_a_run_takes_only_so_many() -> None:
    done = [fault(4, "loss", "c1", 1)] * MOST_CLICKS
    with pytest.raises(ValueError, match="the most of a run"):
        check_click(ASKED, done, fault(5, "loss", "c1", 1))


@pytest.mark.parametrize("faults", [[], DONE], ids=["nothing", "much"])
def test_what_was_done_is_a_scenario_that_can_be_read(faults: list[Fault], tmp_path: Path) -> None:
    repeated = clicked(ASKED, faults)
    write_scenario(repeated, tmp_path / "clicked.yaml")
    found: Scenario = load_scenario(tmp_path / "clicked.yaml")
    assert found == repeated
    assert list(found.faults) == [*ASKED.faults, *faults]
    assert found.model_copy(update={"faults": ASKED.faults}) == ASKED
