"""Time to re-balance, from requests whose answer is known."""

import numpy as np
import pytest

from experiments.analysis.rebalancing import Around, time_to_rebalance

BACKENDS = ("b1", "b2", "b3")
ENDS = (*BACKENDS, "unanswered")
EVEN = (1, 1, 1, 0)
Requests = list[tuple[float, str]]
"""When each was sent, and how it ended."""


def sent(
    begin_s: float, end_s: float, *weights: float, rate: float = 200, seed: int = 0
) -> Requests:
    """Requests at random; they end by chance in proportion to the weights of ENDS."""
    rng = np.random.default_rng([int(begin_s * 10), int(end_s * 10), seed])
    n = int(rate * (end_s - begin_s))
    share = np.array(weights) / sum(weights)
    return list(
        zip(rng.uniform(begin_s, end_s, n).tolist(), rng.choice(ENDS, n, p=share), strict=True)
    )


def rebalance(
    *parts: Requests, fault_s: float = 5, after_s: float = 15, before_s: float = 0
) -> tuple[float | None, str]:
    times_s, ends = zip(*(request for part in parts for request in part), strict=True)
    around = Around(before_s, fault_s, after_s)
    measured = time_to_rebalance(times_s, ends, len(BACKENDS), around)
    return measured.seconds, measured.reason


def test_over_when_the_shares_are_the_new_ones() -> None:
    seconds, _ = rebalance(sent(0, 7, *EVEN), sent(7, 15, 1, 0, 1, 0))
    assert seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("lasted_s", [0.25, 0.75, 3.0])
def test_over_when_requests_are_answered_again(lasted_s: float) -> None:
    """Shares of those that are answered are the new ones at once: a dead backend answers none."""
    lost = sent(5, 5 + lasted_s, 1, 0, 1, 1)
    seconds, _ = rebalance(sent(0, 5, *EVEN), lost, sent(5 + lasted_s, 15, 1, 0, 1, 0))
    assert seconds == pytest.approx(lasted_s, abs=0.1)


def test_a_transient_after_which_all_is_as_before_is_over_when_it_ends() -> None:
    seconds, _ = rebalance(sent(0, 5, *EVEN), sent(5, 6, 1, 1, 1, 1), sent(6, 15, *EVEN))
    assert seconds == pytest.approx(1.0, abs=0.1)


def test_at_once_where_the_shares_are_the_new_ones_from_the_start() -> None:
    assert rebalance(sent(0, 5, *EVEN), sent(5, 15, 3, 0, 1, 0)) == (0, "")


def test_requests_lost_all_the_time_do_not_hold_it_up() -> None:
    before, after = sent(0, 5, 1, 1, 1, 0.1), sent(5, 15, 1, 0, 1, 0.1)
    assert rebalance(before, after)[0] == 0


def test_a_balancer_that_pays_no_heed_has_balanced_nothing() -> None:
    seconds, reason = rebalance(sent(0, 5, *EVEN), sent(5, 15, *EVEN))
    assert seconds is None
    assert "nothing changed" in reason


def test_without_requests_before_the_fault_nothing_is_said_of_no_change() -> None:
    assert rebalance(sent(5, 15, *EVEN), before_s=4.9)[0] == 0


@pytest.mark.parametrize(
    "tail", [(12, 15, 1, 0, 1, 0), (12, 15, 1, 1, 1, 1)], ids=["moved on", "answers stop"]
)
def test_what_still_moves_has_no_target(tail: tuple[float, ...]) -> None:
    seconds, reason = rebalance(sent(0, 12, *EVEN), sent(*tail))
    assert seconds is None
    assert "not settled" in reason


def test_a_handful_of_requests_says_nothing() -> None:
    seconds, reason = rebalance(sent(5, 6, *EVEN, rate=60), after_s=6)
    assert seconds is None
    assert "too few" in reason


@pytest.mark.parametrize("seed", range(30))
def test_what_changes_at_once_is_hardly_ever_called_unbalanced(seed: int) -> None:
    before, after = sent(0, 5, 1, 1, 1, 0, seed=seed), sent(5, 15, 2, 1, 1, 0.05, seed=seed)
    assert rebalance(before, after)[0] == 0
