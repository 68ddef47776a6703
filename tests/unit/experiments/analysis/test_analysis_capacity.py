"""Evenness by what each backend could take."""

import pytest

from experiments.analysis.capacity import capacities
from experiments.analysis.fairness import fairness_verdict, jain
from experiments.plan.faults import Fault

NAMES = ("b1", "b2", "b3", "b4")
EQUAL = (1.0, 1.0, 1.0, 1.0)


def faults(*entries: dict[str, str]) -> list[Fault]:
    return [Fault.model_validate(entry) for entry in entries]


def test_speeds_that_are_balanced_perfectly_are_even() -> None:
    counts, speeds = [100, 100, 200, 200], (1.0, 1.0, 2.0, 2.0)
    assert jain(counts) == pytest.approx(0.90)
    assert jain(counts, capacities(NAMES, speeds, [], (0, 30))) == pytest.approx(1.0)
    assert fairness_verdict([150, 150, 150, 150], speeds).biased


def test_a_dead_backend_does_not_make_a_correct_balancer_worse_than_chance() -> None:
    dead = faults({"at": "0 s", "kill": "b2"})
    could_take = capacities(NAMES, EQUAL, dead, (3, 30))
    assert could_take == (1.0, 0.0, 1.0, 1.0)
    counts = [200, 0, 200, 200]
    assert fairness_verdict(counts).biased
    verdict = fairness_verdict(counts, could_take)
    assert not verdict.biased
    assert str(verdict) == "within chance"


@pytest.mark.parametrize(
    ("entries", "window_s", "left"),
    [
        ([{"at": "10 s", "kill": "b2"}], (0, 20), 0.5),
        ([{"at": "5 s", "drain": "b2"}, {"at": "10 s", "restore": "b2"}], (0, 20), 0.75),
        ([{"at": "10 s", "slow": "b2 x0.5"}], (0, 20), 0.75),
        ([{"at": "1 s", "slow": "b2 x0.5"}, {"at": "15 s", "kill": "b2"}], (5, 25), 0.25),
        ([{"at": "30 s", "kill": "b2"}], (0, 20), 1.0),
    ],
)
def test_what_is_left_of_a_backend(
    entries: list[dict[str, str]], window_s: tuple[float, float], left: float
) -> None:
    found = capacities(NAMES, EQUAL, faults(*entries), window_s)
    assert found == pytest.approx((1.0, left, 1.0, 1.0))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([250, 250, 250, 250], "more even than chance"),
        ([240, 262, 251, 247], "within chance"),
        ([400, 200, 200, 200], "less even than chance"),
        ([0, 0, 0, 0], "nothing to share"),
    ],
)
def test_it_is_said_in_words(counts: list[int], words: str) -> None:
    assert str(fairness_verdict(counts, EQUAL)) == words
