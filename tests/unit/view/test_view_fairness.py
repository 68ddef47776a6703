"""Jain's index and its chance in closed form, against the testbed's, drawn at random."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.analysis import fairness as drawn
from nginy.view.fairness import _chi2_quantile, chance, fairness, jain

CASES = [
    (100, (1, 1)),
    (500, (1, 2, 4)),
    (60, (1, 3, 1)),
    (300, (4, 2, 2, 1)),
    (2000, (1,) * 20),
    (1000, (1,) * 10 + (5,)),
]


@pytest.mark.parametrize(("picks", "weights"), CASES)
def test_chance_is_what_many_random_assignments_show(picks: int, weights: tuple[int, ...]) -> None:
    """The distance from 1 to 8 %: chi2 is a limit, and 50 draws of 50 000 are below."""
    below, above = chance(picks, tuple(weight / sum(weights) for weight in weights))
    floor = drawn.noise_floor(picks, tuple(map(float, weights)))
    assert 1 / below - 1 == pytest.approx(1 / floor.lowest - 1, rel=0.08)
    assert above == pytest.approx(floor.highest, abs=2e-4)


@pytest.mark.parametrize("freedom", [1, 2, 2.7, 9, 999])
def test_chi2(freedom: float) -> None:
    for probability in (0.001, 0.5, 0.999):
        exact = stats.chi2.ppf(probability, freedom)
        assert _chi2_quantile(probability, freedom) == pytest.approx(exact, rel=1e-5)


def test_jain_is_the_testbeds() -> None:
    assert jain([3, 5, 9], [1, 2, 3]) == pytest.approx(drawn.jain([3, 5, 9], [1, 2, 3]))
    assert math.isnan(jain([0, 0], [1, 1]))


@pytest.mark.parametrize(
    ("picks", "shares", "words"),
    [
        ([250, 250, 250, 250], [25, 25, 25, 25], "more even than chance"),
        ([400, 100], [50, 50], "less even than chance"),
        ([400, 100], [80, 20], "within chance"),
        ([250, 250], [50, 50], "within chance"),  # as even as can be, and one in 28
    ],
)
def test_in_words(picks: list[int], shares: list[float], words: str) -> None:
    found = fairness(picks, shares, 5.0)
    assert found is not None
    assert (found.evenness, found.picks) == (words, sum(picks))


def test_an_honest_die_is_within_chance() -> None:
    rng = np.random.default_rng(1)
    judged = [fairness(list(rng.multinomial(400, [0.1, 0.2, 0.7])), [10, 20, 70], 5.0)
              for _ in range(2000)]  # fmt: skip
    odd = sum(found is None or found.evenness != "within chance" for found in judged)
    assert odd <= 12, "two in a thousand are expected"


@pytest.mark.parametrize(
    ("picks", "shares"), [([], []), ([1000], [100.0]), ([3, 3], [50, 50]), ([400, 2], [99, 1])]
)
def test_of_too_little_nothing_is_said(picks: list[int], shares: list[float]) -> None:
    assert fairness(picks, shares, 5.0) is None
