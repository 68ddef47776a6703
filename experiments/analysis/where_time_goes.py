"""What a request's latency is made of, from start to end. Pure functions on table `requests`."""

from collections.abc import Mapping

import pandas as pd

PARTS = ("connecting", "way and balancer", "waiting at the backend", "service", "transfer")
"""In the order in which they happen."""
UNTOLD = "way, balancer and server"
"""In the place of the three in the middle, where servers give no account of themselves."""
_ORDER = (*PARTS[:-1], UNTOLD, PARTS[-1])


def parts_ms(requests: pd.DataFrame) -> "pd.Series[float]":
    """Mean of each of PARTS (with UNTOLD in it, where no backend says how long it took) over the
    answered requests, in ms; they add up to the mean latency.

    Connecting: from the intended start until the client's connection was there (none on a
    connection that was kept). Transfer: from the first byte of the answer to the last. What is
    left between the two, and was not at the backend, is the way there and back, and the balancer.
    """
    done = requests[requests["status"] == "ok"]
    begun_s = done["intended_s"]
    ready_s = done["connected_s"].clip(lower=begun_s).fillna(begun_s)
    first_s = done["first_byte_s"].fillna(done["ended_s"])
    served_ms = done["wait_ms"] + done["service_ms"]
    if len(done) and served_ms.isna().all():
        between = (ready_s - begun_s, first_s - ready_s, done["ended_s"] - first_s)
        names = (PARTS[0], UNTOLD, PARTS[-1])
        return pd.Series(
            {name: float(each.mean()) * 1e3 for name, each in zip(names, between, strict=True)}
        )
    columns = (
        (ready_s - begun_s) * 1e3,
        (first_s - ready_s) * 1e3 - served_ms,
        done["wait_ms"],
        done["service_ms"],
        (done["ended_s"] - first_s) * 1e3,
    )
    return pd.Series({name: float(each.mean()) for name, each in zip(PARTS, columns, strict=True)})


def stack(requests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row of `parts_ms` per name; 0 for a part that it has not, others have."""
    rows = {name: parts_ms(frame) for name, frame in requests.items()}
    parts = pd.DataFrame(rows).T
    return parts.reindex(columns=[name for name in _ORDER if name in parts]).pipe(_absent)


def _absent(parts: pd.DataFrame) -> pd.DataFrame:
    """What only other rows have is no time here; a row that has nothing at all stays unknown."""
    return parts.where(parts.isna().all(axis="columns"), parts.fillna(0.0), axis="index")


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
