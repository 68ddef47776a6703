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
algorithm settles at is its own affair. The time is cut into bins that hold 5 requests per backend
on average, and the first half's last bin whose counts the target does not explain (Pearson's
chi-square, 0.1 % for all bins together) is where re-balancing ended; the resolution is one bin. It
is null where the target itself does not hold still (its two halves differ, 0.1 %) and where there
are too few requests for 8 bins.
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
REQUESTS_PER_BACKEND = 5
MIN_BINS = 8
MIN_BIN_S = 0.1


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
    inside = (times >= within.begin_s) & (times < within.end_s)
    place = {name: index for index, name in enumerate(backends)}
    owner = np.array([place[name] for name in np.asarray(served_by, dtype=object)[inside]], int)
    bins = int(inside.sum() / (REQUESTS_PER_BACKEND * len(backends)))
    bins = min(bins, int((within.end_s - within.begin_s) / MIN_BIN_S)) // 4 * 4
    if bins < MIN_BINS:
        return Measured(None, "too few requests until the next fault")
    width_s = (within.end_s - within.begin_s) / bins
    number = np.minimum(((times[inside] - within.begin_s) / width_s).astype(int), bins - 1)
    counts = np.zeros((bins, len(backends)))
    np.add.at(counts, (number, owner), 1)
    third, fourth = counts[bins // 2 : bins * 3 // 4], counts[bins * 3 // 4 :]
    if _p_same(third.sum(axis=0), fourth.sum(axis=0)) < FALSE_ALARM:
        return Measured(None, "shares had not settled by the next fault")
    target = counts[bins // 2 :].sum(axis=0)
    early = counts[: bins // 2]
    odd = [i for i, row in enumerate(early) if _p_from(row, target) < FALSE_ALARM / len(early)]
    return Measured((odd[-1] + 1) * width_s if odd else 0.0)


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
    sent = requests.dropna(subset=["backend", "sent_s"])
    rows = []
    for fault in faults.to_dict("records"):
        applied_s = float(fault["applied_s"])
        detect = _detect(fault, faults, chosen, flows, duration_s)
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
    flows: pd.DataFrame,
    duration_s: float,
) -> Measured:
    name, applied_s = fault["backend"], fault["applied_s"]
    own = faults[faults["backend"] == name]
    end_s = _next_s(own, applied_s, duration_s)
    times_s = chosen.loc[chosen["backend"] == name, "t_s"].to_list()
    if fault["action"] == "slow":
        return Measured(None, "a slow backend is not to be left")
    if fault["action"] == "restore":
        return time_to_return(times_s, applied_s, end_s)
    if fault["action"] == "kill":
        times_s += _last_datagrams(flows, name, applied_s, end_s)
    earlier = own.loc[own["applied_s"] < applied_s, "applied_s"]
    return time_to_leave(times_s, applied_s, end_s, float(earlier.max()) if len(earlier) else 0.0)


def _last_datagrams(flows: pd.DataFrame, name: str, begin_s: float, end_s: float) -> list[float]:
    """When the balancer's flows to this backend carried their last datagram to it."""
    own = flows[(flows["protocol"] == "udp") & (flows["backend"] == name)]
    own = own[own["client_address"].isin(_balancers(flows))]
    return own.loc[own["last_up_s"].between(begin_s, end_s), "last_up_s"].to_list()


def _balancers(flows: pd.DataFrame) -> list[str]:
    """Who is both a server to some and a client to others."""
    return sorted(set(flows["server_address"]) & set(flows["client_address"]))


def _next_s(faults: pd.DataFrame, after_s: float, duration_s: float) -> float:
    later = faults.loc[faults["applied_s"] > after_s, "applied_s"]
    return min(float(later.min()) if len(later) else inf, duration_s)


def _p_from(counts: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """How probable counts at least this far from the target's shares are."""
    n = counts.sum()
    if not n:
        return 1.0
    expected = n * (target + 0.5) / (target + 0.5).sum()  # a share of 0 was not seen, not proved
    return _p((((counts - expected) ** 2) / expected).sum(), len(counts) - 1)


def _p_same(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How probable two rows of counts at least this different are under the same shares."""
    used = (first + second) > 0
    rows = np.array([first[used], second[used]])
    if used.sum() < 2 or not rows.sum(axis=1).all():
        return 1.0
    expected = rows.sum(axis=1, keepdims=True) * rows.sum(axis=0) / rows.sum()
    return _p((((rows - expected) ** 2) / expected).sum(), int(used.sum()) - 1)


def _p(chi_square: float, degrees: int) -> float:
    return float(special.chdtrc(degrees, chi_square)) if degrees else 1.0
