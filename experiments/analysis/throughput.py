"""How much was carried. Pure functions on table `requests`.

**Throughput**: every response byte that reached a client, also of requests that failed later.
**Goodput**: the bytes of responses that arrived whole and in time (status `ok`). Both at the
application, so without headers and repeats; a byte counts in the second its request ended.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

_MBIT_PER_BYTE = 8e-6


@dataclass(frozen=True, slots=True)
class Throughput:
    """Means over a measured interval."""

    offered_rps: float
    completed_rps: float
    throughput_mbps: float
    goodput_mbps: float


def in_window(
    frame: pd.DataFrame, window_s: tuple[float, float], column: str = "intended_s"
) -> pd.DataFrame:
    """Rows whose `column` lies in [from, to)."""
    return frame[(frame[column] >= window_s[0]) & (frame[column] < window_s[1])]


def total(requests: pd.DataFrame, window_s: tuple[float, float]) -> Throughput:
    """Rates over the interval: offered by intended start, everything else by end of request."""
    seconds = window_s[1] - window_s[0]
    if seconds <= 0:
        raise ValueError(f"the interval {window_s} is empty")
    ended = in_window(requests, window_s, "ended_s")
    answered = ended[ended["status"] == "ok"]
    return Throughput(
        offered_rps=len(in_window(requests, window_s)) / seconds,
        completed_rps=len(answered) / seconds,
        throughput_mbps=float(ended["bytes_received"].sum()) * _MBIT_PER_BYTE / seconds,
        goodput_mbps=float(answered["bytes_received"].sum()) * _MBIT_PER_BYTE / seconds,
    )


def per_second(requests: pd.DataFrame, duration_s: float) -> pd.DataFrame:
    """The same rates for each whole second of [0, duration): t_s is where the second begins."""
    seconds = int(duration_s)
    answered = requests[requests["status"] == "ok"]
    return pd.DataFrame(
        {
            "t_s": np.arange(seconds, dtype=float),
            "offered_rps": _histogram(requests["intended_s"], None, seconds),
            "completed_rps": _histogram(answered["ended_s"], None, seconds),
            "throughput_mbps": _histogram(requests["ended_s"], requests["bytes_received"], seconds)
            * _MBIT_PER_BYTE,
            "goodput_mbps": _histogram(answered["ended_s"], answered["bytes_received"], seconds)
            * _MBIT_PER_BYTE,
        }
    )


def _histogram(
    times_s: "pd.Series[float]", amounts: "pd.Series[int] | None", seconds: int
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Sum of `amounts` (None: 1 each) per second; what did not happen (NaN) counts nowhere."""
    whole = np.floor(times_s.to_numpy(dtype=float))
    inside = (whole >= 0) & (whole < seconds)
    weights = None if amounts is None else amounts.to_numpy(dtype=float)[inside]
    counts = np.bincount(whole[inside].astype(int), weights=weights, minlength=seconds)
    return counts.astype(float)
