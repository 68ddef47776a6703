"""Checks that hold on every run, whatever the system under test does. Pure.

A run that breaks one of them was measured wrongly: its numbers are not evidence.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

_MAX_BATCHES = 20
_FALSE_ALARM = 1e-5
"""Of one call of `little`: a matrix of a thousand client runs is falsely rejected once in 100."""


class TooFewSamples(ValueError):
    """There is not enough to compare."""


class LittlesLaw(NamedTuple):
    """Little's law on one client: both sides, how far they may be apart, whether they agree."""

    in_flight_sampled: float
    """L: mean of the samples of the in-flight counter."""
    rate_times_stay: float
    """lambda W: the time that requests spent in flight within the window, per second of it."""
    tolerance: float
    ok: bool


def conserved(requests: pd.DataFrame, finals: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where the counts of clients and of a backend, made by different programs, contradict.

    `requests` is that table; `finals` the last counters of each backend that lived from the start
    to the end of the run. Everything that a client was answered, a backend must have served; and
    what it got must be a request that a client has sent there, or one whose fate no client knows.
    """
    known = requests["status"].isin(("ok", "rejected"))
    unknown = int((~known).sum())
    answers = requests.loc[known, ["backend", "status"]].value_counts().to_dict()
    problems = []
    for name, final in finals.items():
        got = 0
        for status, counter in (("ok", "completed"), ("rejected", "rejected")):
            answered = int(answers.get((name, status), 0))
            got += answered
            if not answered <= final[counter] <= answered + unknown:
                problems.append(
                    f"{name}: clients have {answered} answers `{status}` of it, and it counted "
                    f"{final[counter]} {counter} ({unknown} requests of all clients are without "
                    "an answer)"
                )
        if not got <= final["arrived"] <= got + unknown:
            problems.append(f"{name}: {got} requests answered by it, {final['arrived']} arrived")
    return problems


def totals_agree(
    answered: int, open_at_end: int, finals: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Where clients that keep totals alone contradict the servers: all of `answered` was served,
    and no more than that and what may have been under way on `open_at_end` connections (which were
    cut at the end, or given up)."""
    served = sum(final["completed"] for final in finals.values())
    if answered <= served <= answered + open_at_end:
        return []
    return [
        f"clients counted {answered} answers, and had up to {open_at_end} more under way; the "
        f"servers counted {served}"
    ]


def carried(requests: pd.DataFrame, connections: pd.DataFrame) -> list[str]:
    """Where the balancer's own records contradict the clients: connections of one request each.

    Every answer came through a connection that reached a backend; and no more reached one than
    clients have begun.
    """
    through = int(connections["backend"].notna().sum())
    answered = int(requests["status"].isin(("ok", "rejected")).sum())
    begun = int(requests["sent_s"].notna().sum())
    if answered <= through <= begun:
        return []
    return [
        f"the balancer recorded {through} connections to backends, clients began {begun} and had "
        f"{answered} answered"
    ]


def little(
    stays_s: ArrayLike, in_flight_samples: ArrayLike, window_s: tuple[float, float]
) -> LittlesLaw:
    """Compare the sampled number in flight with the requests' own records: L = lambda W.

    `stays_s`: rows of (sent, ended) seconds, ended infinite for those still in flight.
    `in_flight_samples`: rows of (time in seconds, requests in flight).
    `window_s`: from and to; what lies outside does not count, so no stationarity is assumed.

    Both sides measure the same area, so they differ by the sampling error alone. Its size is taken
    from the run itself: the window is cut into up to 20 batches, whose differences have mean 0 if
    the law holds, and the tolerance is their t-interval at a false alarm rate of 1e-5, but never
    under one request in one sample. Raises TooFewSamples under 4 samples in the window.
    """
    samples = np.asarray(in_flight_samples, dtype=float).reshape(-1, 2)
    samples = samples[(samples[:, 0] >= window_s[0]) & (samples[:, 0] < window_s[1])]
    edges = np.linspace(*window_s, 1 + max(1, min(_MAX_BATCHES, len(samples) // 2)))
    batch = np.searchsorted(edges, samples[:, 0], side="right") - 1
    counts = np.bincount(batch, minlength=len(edges) - 1)
    sampled = np.bincount(batch, samples[:, 1], len(edges) - 1)[counts > 0] / counts[counts > 0]
    if len(sampled) < 2:
        raise TooFewSamples(f"{len(samples)} samples of the number in flight")
    stays = np.asarray(stays_s, dtype=float).reshape(-1, 2)
    recorded = _mean_in_flight(stays, edges)[counts > 0]
    standard_error = (sampled - recorded).std(ddof=1) / math.sqrt(len(sampled))
    # Student's t; scipy.stats would say the same but takes a second to import.
    quantile = special.stdtrit(len(sampled) - 1, 1 - _FALSE_ALARM / 2)
    tolerance = max(float(quantile * standard_error), 1 / len(samples))
    in_flight, rate_times_stay = float(sampled.mean()), float(recorded.mean())
    ok = abs(in_flight - rate_times_stay) <= tolerance
    return LittlesLaw(in_flight, rate_times_stay, tolerance, ok)


APART_S = 0.002
"""By which the balancer's and a backend's moments of one connection may differ: a switch and two
processes are between them."""


def little_at(
    backend: str,
    connections: pd.DataFrame,
    samples: pd.DataFrame,
    window_s: tuple[float, float],
    round_trip_s: float = 0.0,
) -> LittlesLaw | None:
    """Connections open at a backend: as it sampled them itself, and by the balancer's records.

    None where there is too little to compare. Two programs in two hosts, so neither can repeat the
    other's mistake. The balancer has a connection one `round_trip_s` longer: it is open there half
    of it before it is accepted, and closed half of it after the backend has closed.
    """
    own = connections[connections["backend"] == backend]
    begun_s = own["opened_s"] + own["connect_ms"].fillna(0.0) / 1e3
    ended_s = np.maximum(own["closed_s"] - round_trip_s / 2, begun_s + round_trip_s / 2)
    of_it = (samples["source"] == backend) & (samples["quantity"] == "active_connections")
    try:
        law = little(
            pd.DataFrame({"from": begun_s + round_trip_s / 2, "to": ended_s}),
            samples.loc[of_it, ["t_s", "value"]],
            window_s,
        )
    except TooFewSamples:
        return None
    slack = APART_S * len(own) / (window_s[1] - window_s[0])
    tolerance = law.tolerance + slack
    apart = abs(law.in_flight_sampled - law.rate_times_stay)
    return law._replace(tolerance=tolerance, ok=apart <= tolerance)


def _mean_in_flight(
    stays_s: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Time-average number in flight between each two edges, from the records alone."""
    sent, ended = stays_s[:, 0], stays_s[:, 1]
    area_until = [np.clip(np.minimum(ended, edge) - sent, 0, None).sum() for edge in edges]
    return np.diff(np.array(area_until)) / np.diff(edges)
