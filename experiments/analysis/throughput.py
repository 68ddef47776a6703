"""How much was carried. Pure functions on table `requests`.

**Throughput**: every response byte that reached a client, also of requests that failed later.
**Goodput**: the bytes of responses that arrived whole and in time (status `ok`). Both at the
application, so without headers and repeats. A response's bytes count as having come evenly from
its first one to its end: all at once in the end, and a link would carry more than its rate.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

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
    """Rates over the interval: offered by intended start, completed by end of request."""
    seconds = window_s[1] - window_s[0]
    if seconds <= 0:
        raise ValueError(f"the interval {window_s} is empty")
    answered = requests[requests["status"] == "ok"]
    return Throughput(
        offered_rps=len(in_window(requests, window_s)) / seconds,
        completed_rps=len(in_window(answered, window_s, "ended_s")) / seconds,
        throughput_mbps=float(_mbit_between(requests, window_s)[0]) / seconds,
        goodput_mbps=float(_mbit_between(answered, window_s)[0]) / seconds,
    )


def per_second(requests: pd.DataFrame, duration_s: float) -> pd.DataFrame:
    """The same rates for each whole second of [0, duration): t_s is where the second begins."""
    seconds = int(duration_s)
    answered = requests[requests["status"] == "ok"]
    return pd.DataFrame(
        {
            "t_s": np.arange(seconds, dtype=float),
            "offered_rps": _per_second(requests["intended_s"], seconds),
            "completed_rps": _per_second(answered["ended_s"], seconds),
            "throughput_mbps": _mbit_between(requests, np.arange(seconds + 1)),
            "goodput_mbps": _mbit_between(answered, np.arange(seconds + 1)),
        }
    )


def _per_second(times_s: "pd.Series[float]", seconds: int) -> NDArray[np.int64]:
    """How many of the times are in each second; what did not happen (NaN) is in none."""
    whole = np.floor(times_s.to_numpy(dtype=float))
    inside = (whole >= 0) & (whole < seconds)
    return np.bincount(whole[inside].astype(int), minlength=seconds)


def _mbit_between(requests: pd.DataFrame, edges_s: ArrayLike) -> NDArray[np.float64]:
    """Megabits that came between each two edges."""
    came = requests[(requests["bytes_received"] > 0) & requests["ended_s"].notna()]
    mbit = came["bytes_received"].to_numpy(dtype=float) * _MBIT_PER_BYTE
    first_s = came["first_byte_s"].to_numpy(dtype=float)
    # Never zero, or what came at once would be 0/0.
    took_s = np.maximum(came["ended_s"].to_numpy(dtype=float) - first_s, 1e-9)
    until = [
        (mbit * np.clip((edge_s - first_s) / took_s, 0, 1)).sum() for edge_s in np.asarray(edges_s)
    ]
    return np.diff(until)


def background_mbps(samples: pd.DataFrame, window_s: tuple[float, float]) -> dict[str, float]:
    """Mean rate at which each background flow's payload was received, of table `samples`."""
    received = samples[samples["quantity"] == "background_received_mbps"]
    means = in_window(received, window_s, "t_s").groupby("source")["value"].mean()
    return {str(flow): float(mean) for flow, mean in means.items()}
