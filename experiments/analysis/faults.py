"""How fast the balancer noticed a fault, and how fast load was balanced anew. Pure functions.

**Time to detect**, in seconds: from `kill` or `drain` until the balancer chose that backend for the
last time before it was restored; from `restore` until it chose it again. A choice is an attempt to
connect or a new UDP session in the balancer's records (also one that failed and was made good by
another backend); after `kill` with UDP also every datagram sent to it, if that was captured. It
does not apply to `slow`: a slow backend is not to be left. It is null where chance could explain
the silence: with the rate r of choices of that backend before the fault, no choice for the rest t
of the interval has a probability of e^(-rt) (Poisson), which must be under 0.1 %.

**Time to re-balance**, in seconds: from the fault until the shares of all backends in the requests
are those of the second half of the time until the next fault. That half is the target: what an
algorithm settles at is its own affair. The moment is the change point of greatest likelihood in the
first half: the one until which the requests depart most from the target, by G = 2 sum O ln(O/E)
over backends. It is 0 where chance explains the greatest G (chi-square, 0.1 % for all moments
together); of a change that is gradual it is the moment that parts it best in two. It is null where
the target itself does not hold still (its two halves differ, chi-square, 0.1 %), and where there
are fewer than 40 requests per backend until the next fault.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

FALSE_ALARM = 0.001
RATE_WINDOW_S = 5.0
"""How long before a fault the rate of choices is taken from."""
REQUESTS_PER_BACKEND = 40


@dataclass(frozen=True, slots=True)
class Measured:
    """A time in seconds, or why there is none."""

    seconds: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """From a fault until the next one that matters. Seconds since the start of load."""

    begin_s: float
    end_s: float


def choices(connections: pd.DataFrame) -> pd.DataFrame:
    """`t_s` and `backend` of every attempt of the balancer, in order of time.

    The attempts of one connection all count as made when it was opened.
    """
    tried = connections[["opened_s", "backends_tried"]].explode("backends_tried")
    named = tried.dropna().set_axis(["t_s", "backend"], axis="columns")
    return named.sort_values("t_s", ignore_index=True)


def time_to_leave(
    times_s: Sequence[float], fault_s: float, end_s: float, begin_s: float = 0.0
) -> Measured:
    """Of `kill` and `drain`: until the last of `times_s`, the choices of that backend.

    `begin_s`: the fault before, from which on the rate is taken (at most RATE_WINDOW_S).
    """
    times = np.sort(np.asarray(times_s, dtype=float))
    since_s = max(begin_s, fault_s - RATE_WINDOW_S)
    before = int(((times >= since_s) & (times < fault_s)).sum())
    if not before or fault_s <= since_s:
        return Measured(None, "it was not chosen before the fault either")
    rate = before / (fault_s - since_s)
    during = times[(times >= fault_s) & (times < end_s)]
    last_s = float(during[-1]) if len(during) else fault_s
    if exp(-rate * (end_s - last_s)) > FALSE_ALARM:
        return Measured(None, "it was still chosen at the end, or too rarely to tell")
    return Measured(last_s - fault_s)


def time_to_return(times_s: Sequence[float], restored_s: float, end_s: float) -> Measured:
    """Of `restore`: until the first of `times_s`, the choices of that backend."""
    times = np.asarray(times_s, dtype=float)
    during = times[(times >= restored_s) & (times < end_s)]
    if not len(during):
        return Measured(None, "it was not chosen again")
    return Measured(float(during.min()) - restored_s)


def time_to_rebalance(
    times_s: Sequence[float], served_by: Sequence[str], backends: Sequence[str], within: Interval
) -> Measured:
    """Until the shares of the requests are those of the second half of `within`.

    `times_s`: when each request was sent, `served_by`: its backend.
    """
    times = np.asarray(times_s, dtype=float)
    order = np.argsort(times, kind="stable")
    order = order[(times[order] >= within.begin_s) & (times[order] < within.end_s)]
    if len(order) < REQUESTS_PER_BACKEND * len(backends):
        return Measured(None, "too few requests until the next fault")
    times, owners = times[order], np.asarray(served_by, dtype=object)[order]
    taken = owners[:, np.newaxis] == np.asarray(backends, dtype=object)
    length_s = within.end_s - within.begin_s
    half, late = np.searchsorted(times, within.begin_s + np.array([0.5, 0.75]) * length_s)
    if _p_same(taken[half:late].sum(axis=0), taken[late:].sum(axis=0)) < FALSE_ALARM:
        return Measured(None, "shares had not settled by the next fault")
    if not half:
        return Measured(0.0)
    departure = _departure(taken[:half].cumsum(axis=0), taken[half:].sum(axis=0))
    last = int(departure.argmax())
    if _p(float(departure[last]), len(backends) - 1) >= FALSE_ALARM / half:
        return Measured(0.0)
    return Measured(float(times[last]) - within.begin_s)


def fault_table(
    faults: pd.DataFrame,
    connections: pd.DataFrame,
    requests: pd.DataFrame,
    flows: pd.DataFrame,
    backends: Sequence[str],
    duration_s: float,
) -> pd.DataFrame:
    """One row per fault: the table's columns, `detect_s`, `rebalance_s`, and why one is null.

    From the tables of those names. Times count from when the fault was applied.
    """
    chosen = choices(connections)
    carried = _datagrams(requests, flows)
    sent = requests.dropna(subset=["backend", "sent_s"])
    rows = []
    for fault in faults.to_dict("records"):
        applied_s = float(fault["applied_s"])
        detect = _detect(fault, faults, chosen, carried, duration_s)
        within = Interval(applied_s, _next_s(faults, applied_s, duration_s))
        rebalance = time_to_rebalance(
            sent["sent_s"].to_list(), sent["backend"].to_list(), backends, within
        )
        rows.append(
            {
                **fault,
                "detect_s": detect.seconds,
                "detect_reason": detect.reason,
                "rebalance_s": rebalance.seconds,
                "rebalance_reason": rebalance.reason,
            }
        )
    return pd.DataFrame(rows)


def _detect(
    fault: Mapping[Hashable, Any],
    faults: pd.DataFrame,
    chosen: pd.DataFrame,
    carried: pd.DataFrame,
    duration_s: float,
) -> Measured:
    name, applied_s = fault["backend"], fault["applied_s"]
    own = faults[faults["backend"] == name]
    end_s = _next_s(own, applied_s, duration_s)
    if fault["action"] in ("kill", "restore"):
        chosen = pd.concat([chosen, carried])
    times_s = chosen.loc[chosen["backend"] == name, "t_s"].to_list()
    if fault["action"] == "slow":
        return Measured(None, "a slow backend is not to be left")
    if fault["action"] == "restore":
        return time_to_return(times_s, applied_s, end_s)
    earlier = own.loc[own["applied_s"] < applied_s, "applied_s"]
    return time_to_leave(times_s, applied_s, end_s, float(earlier.max()) if len(earlier) else 0.0)


def _datagrams(requests: pd.DataFrame, flows: pd.DataFrame) -> pd.DataFrame:
    """`t_s` and `backend` of datagrams that reached a backend or were the last of their flow."""
    answered = requests[requests["received_s"].notna()][["received_s", "backend"]]
    own = flows[(flows["protocol"] == "udp") & flows["client_address"].isin(_balancers(flows))]
    last = own[own["backend"].notna()][["last_up_s", "backend"]]
    columns = ["t_s", "backend"]
    return pd.concat([answered.set_axis(columns, axis=1), last.set_axis(columns, axis=1)])


def _balancers(flows: pd.DataFrame) -> list[str]:
    """Who is both a server to some and a client to others."""
    return sorted(set(flows["server_address"]) & set(flows["client_address"]))


def _next_s(faults: pd.DataFrame, after_s: float, duration_s: float) -> float:
    later = faults.loc[faults["applied_s"] > after_s, "applied_s"]
    return min(float(later.min()) if len(later) else inf, duration_s)


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
