"""What a request's latency is made of, from start to end. Pure functions on table `requests`."""

from collections.abc import Mapping

import pandas as pd

PARTS = ("connecting", "way and balancer", "waiting at the backend", "service", "transfer")
"""In the order in which they happen."""


def parts_ms(requests: pd.DataFrame) -> "pd.Series[float]":
    """Mean of each of PARTS over the answered requests, in ms; they add up to the mean latency.

    Connecting: from the intended start until the client's connection was there (none on a
    connection that was kept). Transfer: from the first byte of the answer to the last. What is
    left between the two, and was not at the backend, is the way there and back, and the balancer.
    """
    done = requests[requests["status"] == "ok"]
    begun_s = done["intended_s"]
    ready_s = done["connected_s"].clip(lower=begun_s).fillna(begun_s)
    first_s = done["first_byte_s"].fillna(done["ended_s"])
    served_ms = done["wait_ms"] + done["service_ms"]
    columns = (
        (ready_s - begun_s) * 1e3,
        (first_s - ready_s) * 1e3 - served_ms,
        done["wait_ms"],
        done["service_ms"],
        (done["ended_s"] - first_s) * 1e3,
    )
    return pd.Series({name: float(each.mean()) for name, each in zip(PARTS, columns, strict=True)})


def stack(requests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row of `parts_ms` per name."""
    rows = {name: parts_ms(frame) for name, frame in requests.items()}
    return pd.DataFrame(rows).T.reindex(columns=list(PARTS))


def latency_per_second(requests: pd.DataFrame, duration_s: float) -> pd.DataFrame:
    """`t_s`, p50_ms, p95_ms and `unanswered_share` of the requests that began in each second; null
    where none did, or none was answered."""
    second = requests["intended_s"].floordiv(1).astype(int)
    answered = requests["latency_ms"].where(requests["status"] == "ok")
    grouped = answered.groupby(second)
    frame = pd.DataFrame(
        {
            "p50_ms": grouped.quantile(0.5),
            "p95_ms": grouped.quantile(0.95),
            "unanswered_share": (requests["status"] != "ok").groupby(second).mean(),
        }
    )
    seconds = pd.RangeIndex(int(duration_s), name="t_s")
    return frame.reindex(seconds).reset_index()
