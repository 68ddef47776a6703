"""How fast load was balanced anew after a fault. Pure functions.

**Time to re-balance**, in seconds: from the fault until requests end as they go on to end. A
request ends with the backend that answered it in time, or unanswered by the one that had it (or by
none); it counts when it was sent.
So both are over by then: shares of the backends that are not yet the new ones, and requests that
get no answer. What counts is what clients saw: where the balancer tries another backend when the
first refuses (TCP), a dead one costs time of the balancer, which is the time to detect, and no
answers. Requests that were sent before the fault are not looked at.

How requests go on to end is taken from the second half of the time until the next fault: what an
algorithm settles at is its own affair. The moment is the change point of greatest likelihood in the
first half: the one until which the requests depart most from that, by G = 2 sum O ln(O/E). Of a
change that is gradual it is the moment that parts it best in two. It is 0 where chance explains the
greatest G (chi-square, 0.1 % for all moments together): balanced at once, or too soon to tell.

It is null where nothing changed (as requests ended before the fault, chi-square, 0.1 %: a balancer
that pays no heed to a slow backend), where the target itself does not hold still (its two halves
differ, by the same test), and where there are fewer than 40 requests per backend until the next
fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from experiments.analysis.measured import FALSE_ALARM, Measured

REQUESTS_PER_BACKEND = 40


@dataclass(frozen=True, slots=True)
class Around:
    """A fault, and the ones before and after it (or begin and end of load). Seconds."""

    before_s: float
    fault_s: float
    after_s: float


def time_to_rebalance(
    times_s: Sequence[float], ends: Sequence[str], backends: int, around: Around
) -> Measured:
    """Until requests end as in the second half of the time until `around.after_s`.

    `times_s`: when each request was sent; `ends`: how it ended, equal for equal ends; `backends`:
    how many there are.
    """
    times, ended = _in_order(times_s, ends)
    length_s = around.after_s - around.fault_s
    marks_s = (
        (around.before_s + around.fault_s) / 2,
        *(around.fault_s + part * length_s for part in (0, 0.5, 0.75, 1)),
    )
    settled, fault, half, late, after = (int(i) for i in np.searchsorted(times, marks_s))
    enough = REQUESTS_PER_BACKEND * backends
    if after - fault < enough:
        return Measured(None, "too few requests until the next fault")
    if _p_same(_sum(ended[half:late]), _sum(ended[late:after])) < FALSE_ALARM:
        return Measured(None, "not settled by the next fault")
    target = _sum(ended[half:after])
    last = _last_that_departs(ended[fault:half], target)
    if last is not None:
        return Measured(float(times[fault + last]) - around.fault_s)
    if (
        2 * (fault - settled) >= enough
        and _p_same(_sum(ended[settled:fault]), target) > FALSE_ALARM
    ):
        return Measured(None, "nothing changed")
    return Measured(0.0)


def _in_order(
    times_s: Sequence[float], ends: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Times, rising, and for each a row that is true in the column of its end."""
    times = np.asarray(times_s, dtype=float)
    order = np.argsort(times, kind="stable")
    ended = np.asarray(ends, dtype=np.str_)[order]
    return times[order], ended[:, np.newaxis] == np.unique(ended)


def _last_that_departs(ends: NDArray[np.bool_], target: NDArray[np.int64]) -> int | None:
    """Index of the last request before the change; None where chance explains all there is."""
    if not len(ends):
        return None
    departure = _departure(ends.cumsum(axis=0), target)
    last = int(departure.argmax())
    used = int((ends.any(axis=0) | (target > 0)).sum())
    p = _p(float(departure[last]), used - 1)
    return last if p < FALSE_ALARM / len(ends) else None


def _sum(ends: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = ends.sum(axis=0)
    return counts


def _departure(counts: NDArray[np.int64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """G of each row of counts against the target's shares."""
    share = (target + 0.5) / (target + 0.5).sum()  # a share of 0 was not seen, not proved
    expected = counts.sum(axis=1, keepdims=True) * share
    found: NDArray[np.float64] = 2 * special.xlogy(counts, counts / expected).sum(axis=1)
    return found


def _p_same(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """How probable two rows of counts at least this different are under the same shares."""
    used = (first + second) > 0
    rows = np.array([first[used], second[used]])
    if used.sum() < 2 or not rows.sum(axis=1).all():
        return 1.0
    expected = rows.sum(axis=1, keepdims=True) * rows.sum(axis=0) / rows.sum()
    return _p((((rows - expected) ** 2) / expected).sum(), int(used.sum()) - 1)


def _p(chi_square: float, degrees: int) -> float:
    return float(special.chdtrc(degrees, chi_square)) if degrees else 1.0
