"""How fast the balancer noticed a fault. Pure functions.

**Time to detect**, in seconds: from a fault for which the backend is to be left (`kill`, `pause`,
`drain`, `cut`, `partition`) until the balancer chose it for the last time before it was restored;
from `restore` until it chose it again. A choice is an attempt to connect or a new UDP session in
the balancer's records (also one that failed and was made good by another backend); after `kill`
with UDP also every datagram sent to it, if that was captured. It does not apply to other faults,
nor to `restore` after them: a slow backend is not to be left. It is null where chance could explain
the silence: with the rate r of choices of that backend before the fault, no choice for the rest t
of the interval has a probability of e^(-rt) (Poisson), which must be under 0.1 %.
"""

from collections.abc import Sequence
from math import exp

import numpy as np
import pandas as pd

from experiments.analysis.measured import FALSE_ALARM, Measured

RATE_WINDOW_S = 5.0
"""How long before a fault the rate of choices is taken from."""


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
    """Of those for which it is to be left: until the last of `times_s`, the choices of that
    backend.

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


def datagrams_carried(requests: pd.DataFrame, flows: pd.DataFrame) -> pd.DataFrame:
    """`t_s` and `backend` of datagrams that reached a backend or were the last of their flow."""
    answered = requests[requests["received_s"].notna()][["received_s", "backend"]]
    own = flows[(flows["protocol"] == "udp") & flows["client_address"].isin(_balancers(flows))]
    last = own[own["backend"].notna()][["last_up_s", "backend"]]
    columns = ["t_s", "backend"]
    return pd.concat([answered.set_axis(columns, axis=1), last.set_axis(columns, axis=1)])


def _balancers(flows: pd.DataFrame) -> list[str]:
    """Who is both a server to some and a client to others."""
    return sorted(set(flows["server_address"]) & set(flows["client_address"]))
