"""What `make stress` makes of its figures."""

import pytest
from click.testing import CliRunner, Result

import experiments.stress.__main__ as stress
from experiments.bench.needs import BenchError
from experiments.stress.scenes import SCENES, Figure, Goal, Scene
from experiments.stress.verdict import reached, table


def scene(goal: Goal) -> Scene:
    return SCENES["arrivals"]._replace(goal=goal)


@pytest.mark.parametrize(
    ("goal", "ours", "its", "expected"),
    [
        (Goal(beside="haproxy"), 5.0, 5.0, True),
        (Goal(beside="haproxy"), 5.1, 5.0, False),
        (Goal(beside="haproxy", slack=1.0), 5.9, 5.0, True),
        (Goal(beside="haproxy", more_is_better=True), 98.0, 99.0, False),
        (Goal(beside="haproxy", more_is_better=True, slack=1.0), 98.0, 99.0, True),
        (Goal(beside="nginx"), 5.0, 5.0, None),
        (Goal(held=5.0), 8.0, 0.0, True),
        (Goal(held=5.0), 8.1, 0.0, False),
    ],
)
def test_a_goal_is_beside_another_one_or_above_what_is_quiet(
    goal: Goal, ours: float, its: float, expected: bool | None
) -> None:
    figures = {"haproxy": Figure(its), "nginy": Figure(ours, quiet=3.0)}
    assert reached(scene(goal), figures) is expected


def test_a_loop_that_is_held_misses_every_goal() -> None:
    figures = {"nginy": Figure(0.0, quiet=3.0, lag_ms=5.1)}
    assert reached(scene(Goal(held=5.0)), figures) is False
    assert "5.1 ms        MISSED" in table({"weight": figures})


def test_without_a_figure_of_nginy_nothing_is_judged() -> None:
    assert reached(scene(Goal(held=5.0)), {"nginx": Figure(1.0)}) is None


def test_the_table_tells_goal_and_verdict_of_nginy_alone() -> None:
    figures = {
        "restart": {"nginx": Figure(2.0), "nginy": Figure(75.0)},
        "weight": {"nginy": Figure(14.0, quiet=10.7)},
        "arrivals": {"nginy": Figure(1.0)},
    }
    lines = [line.split() for line in table(figures).splitlines()]
    assert ["nginx", "2.0"] in lines
    assert ["nginy", "75.0", "<=", "2.0", "MISSED"] in lines
    assert ["nginy", "14.0", "10.7", "<=", "15.7", "reached"] in lines
    assert ["nginy", "1.0", "not", "judged"] in lines


def outcome(monkeypatch: pytest.MonkeyPatch, figures: dict[str, Figure | Exception]) -> Result:
    """Of the scene `restart`, by system."""

    def measured(_scene: str, system: str) -> Figure:
        figure = figures[system]
        if isinstance(figure, Exception):
            raise figure
        return figure

    monkeypatch.setattr(stress, "prepare_process", lambda: None)  # pytest's own signals stay
    monkeypatch.setattr(stress.os, "geteuid", lambda: 0)
    monkeypatch.setattr(stress, "_measure", measured)
    return CliRunner().invoke(stress.main, ["--only", "restart"])


@pytest.mark.parametrize(("lost", "code"), [(2.0, 0), (3.0, 1)])
def test_the_exit_code_says_whether_the_goal_is_reached(
    monkeypatch: pytest.MonkeyPatch, lost: float, code: int
) -> None:
    figures = {"nginx": Figure(2.0), "haproxy": Figure(8.0), "nginy": Figure(lost)}
    assert outcome(monkeypatch, figures).exit_code == code


@pytest.mark.parametrize("missing", ["nginx", "nginy"])
def test_what_cannot_be_measured_is_said_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    figures: dict[str, Figure | Exception] = {
        "nginx": Figure(2.0),
        "haproxy": Figure(8.0),
        "nginy": Figure(0.0),
        missing: BenchError("not today"),
    }
    done = outcome(monkeypatch, figures)
    assert done.exit_code == 2
    assert f"restart of {missing} could not be measured: not today" in done.output
    assert "haproxy  8.0" in done.output
