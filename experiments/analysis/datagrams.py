"""What became of datagrams, per request and per flow. Pure functions on table `requests` (UDP).

- **late**: the answer came after the timeout, but within another one
- **lost**: it did not come at all (status `timeout`, and not late)
- **duplicate**: a further copy of an answer
- **reordered**: a datagram that arrived after one that was sent later (RFC 4737), told for each
  direction by itself among the datagrams of one flow and one backend, from the times at which both
  ends sent and received: how long a request was served plays no part
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_FLOW = ["client", "local", "connected_s", "backend"]


@dataclass(frozen=True, slots=True)
class DatagramCounts:
    """Of the requests of an interval. Shares are of all of them; NaN where there were none."""

    requests: int
    lost: int
    late: int
    duplicates: int
    """Further copies, not answers that had one."""
    reordered_up: int
    """Requests, on their way to the backend."""
    reordered_down: int
    """Answers."""

    @property
    def lost_share(self) -> float:
        """0 to 1."""
        return self.lost / self.requests if self.requests else float("nan")


def is_late(requests: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each request's answer came after its timeout."""
    return requests["late_s"].notna()


def is_lost(requests: pd.DataFrame) -> "pd.Series[bool]":
    """Whether no answer came to each request, to the end."""
    return (requests["status"] == "timeout") & requests["late_s"].isna()


def reordering(requests: pd.DataFrame) -> pd.DataFrame:
    """`up` and `down`, true where that datagram arrived after one sent later; index of `requests`.

    Only what was answered, in time or late, can be told; the rest is false.
    """
    arrived_s = requests["first_byte_s"].fillna(requests["late_s"])
    frame = requests.assign(arrived_s=arrived_s)
    frame = frame[frame["received_s"].notna() & frame["arrived_s"].notna()]
    return pd.DataFrame(
        {
            "up": _overtaken(frame, "sent_s", "received_s"),
            "down": _overtaken(frame, "answered_s", "arrived_s"),
        }
    ).reindex(requests.index, fill_value=False)


def count(requests: pd.DataFrame) -> DatagramCounts:
    """Counts over all rows."""
    order = reordering(requests)
    return DatagramCounts(
        requests=len(requests),
        lost=int(is_lost(requests).sum()),
        late=int(is_late(requests).sum()),
        duplicates=_further_copies(requests),
        reordered_up=int(order["up"].sum()),
        reordered_down=int(order["down"].sum()),
    )


def per_flow(requests: pd.DataFrame) -> pd.DataFrame:
    """The same counts per flow: one row per `client`, `local` and `connected_s`, in that order."""
    rows = [
        {
            **dict(zip(_FLOW[:-1], key, strict=True)),
            **{name: getattr(counts, name) for name in DatagramCounts.__dataclass_fields__},
        }
        for key, group in requests.groupby(_FLOW[:-1], sort=True)
        for counts in [count(group)]
    ]
    return pd.DataFrame(rows, columns=[*_FLOW[:-1], *DatagramCounts.__dataclass_fields__])


def datagrams_per_second(requests: pd.DataFrame, duration_s: float) -> pd.DataFrame:
    """`lost`, `late`, `duplicates`, `reordered` by second of intended start; t_s: its beginning."""
    order = reordering(requests)
    second = np.floor(requests["intended_s"].to_numpy(dtype=float))
    what = {
        "lost": is_lost(requests),
        "late": is_late(requests),
        "duplicates": (requests["copies"].fillna(0) - 1).clip(lower=0),
        "reordered": order["up"].astype(int) + order["down"].astype(int),
    }
    seconds = int(duration_s)
    inside = (second >= 0) & (second < seconds)
    places = second[inside].astype(int)
    return pd.DataFrame(
        {
            "t_s": np.arange(seconds, dtype=float),
            **{
                name: np.bincount(places, values.to_numpy(dtype=float)[inside], seconds)
                for name, values in what.items()
            },
        }
    )


def _further_copies(requests: pd.DataFrame) -> int:
    return int((requests["copies"].fillna(0) - 1).clip(lower=0).sum())


def _overtaken(frame: pd.DataFrame, sent: str, arrived: str) -> "pd.Series[bool]":
    """Whether each row arrived after a row of the same flow and backend that was sent later."""
    ordered = frame.sort_values([sent, "seq"])
    found = ordered.groupby(_FLOW)[arrived].transform(_later_sent_earlier)
    return (found < ordered[arrived]).reindex(frame.index)


def _later_sent_earlier(arrived_s: "pd.Series[float]") -> NDArray[np.float64]:
    """The earliest arrival among all that were sent later; infinite for the last."""
    backwards = np.minimum.accumulate(arrived_s.to_numpy(dtype=float)[::-1])[::-1]
    return np.append(backwards[1:], np.inf)
