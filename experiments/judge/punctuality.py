"""What this machine did to single packets and requests, by captures at both ends. Pure.

A 99th percentile of lateness does not protect a 99th percentile of latency: a request waits for
some six packets in turn, and those of one bad moment may be all there is in the tail. So every
request is told how late its own packets and its sender were, and the tail is judged by how much of
it was touched.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

LATE_MS = 1.0
"""A packet that is less late than this is not looked for in requests: there are many, and what they
add is in the stated uncertainty."""
TOUCHED_FLOOR_MS = 2.0
TOUCHED_SHARE = 0.10
"""A request is touched if more than 2 ms and more than this share of its latency is the machine's,
the bounds of `experiments/judge/precision.py`."""
TAIL = 0.01
MOST_OF_THE_TAIL = 0.10
"""So much of the slowest 1 % may be touched: the percentile moves by a tenth of the tail's ranks at
most."""
EARLY_MS = 0.1
"""No packet may come sooner than asked by more: stamps of both ends are good to some 10 us."""


@dataclass(frozen=True, slots=True)
class OneWay:
    """One direction between a client and the balancer: measured delay less what was asked of the
    links on the way, and less what their rate explains (ms). `min_ms` is without the latter."""

    client: str
    direction: str
    """`up` or `down`."""
    asked_ms: float
    packets: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    min_ms: float

    def to_json(self) -> dict[str, Any]:
        """Plain values under the field names."""
        return asdict(self)


def one_way_error(client: str, direction: str, asked_ms: float, packets: pd.DataFrame) -> OneWay:
    """Of `packets` (`delay_ms`, `queue_ms`), at least one."""
    error_ms = (packets["delay_ms"] - packets["queue_ms"]).to_numpy() - asked_ms
    p50, p99, p999 = np.percentile(error_ms, [50, 99, 99.9])
    return OneWay(
        client,
        direction,
        asked_ms,
        len(error_ms),
        float(p50),
        float(p99),
        float(p999),
        float(error_ms.max()),
        float(packets["delay_ms"].min()) - asked_ms,
    )


def added_ms(requests: pd.DataFrame, late: pd.DataFrame) -> "pd.Series[float]":
    """How much of each request's latency was this machine's, as far as it is known.

    `late`: packets that were late, `local` (the client's `ip:port`), `arrived_s` (seconds since the
    start of load) and `late_ms`. A packet belongs to the request of its port during which it
    arrived; with several requests at once on one connection, to each of them.
    """
    own_ms = ((requests["sent_s"] - requests["intended_s"]) * 1e3).fillna(0.0)
    if late.empty:
        return own_ms
    rows = requests.reset_index(names="row")[["row", "local", "intended_s", "ended_s"]]
    pairs = rows.merge(late, on="local")
    ended_s = pairs["ended_s"].fillna(np.inf)
    during = pairs["arrived_s"].between(pairs["intended_s"], ended_s)
    by_row = pairs[during].groupby("row")["late_ms"].sum()
    return own_ms + by_row.reindex(requests.index, fill_value=0.0)


@dataclass(frozen=True, slots=True)
class Tail:
    """The slowest 1 % of the answered requests, and what this machine did to them."""

    requests: int
    touched: int
    p99_ms: float
    p99_without_ms: float
    """Of all requests but the touched ones."""

    @property
    def acceptable(self) -> bool:
        """Whether the tail is that of the network and the system under test."""
        return self.touched <= MOST_OF_THE_TAIL * self.requests

    def __str__(self) -> str:
        """One sentence."""
        if not self.touched:
            return f"none of the slowest {self.requests} requests was touched by this machine"
        return (
            f"{self.touched} of the slowest {self.requests} requests were touched by this machine: "
            f"p99 {self.p99_ms:.1f} ms with all that were, {self.p99_without_ms:.1f} ms without"
        )


def tail(latency_ms: "pd.Series[float]", added: "pd.Series[float]") -> Tail | None:
    """Of answered requests; None without any."""
    if latency_ms.empty:
        return None
    p99_ms = float(np.percentile(latency_ms, 100 * (1 - TAIL)))
    bound_ms = np.maximum(TOUCHED_FLOOR_MS, TOUCHED_SHARE * latency_ms)
    touched = added > bound_ms
    slowest = latency_ms.nlargest(max(1, round(TAIL * len(latency_ms)))).index
    spared = latency_ms[~touched]
    without = float(np.percentile(spared, 100 * (1 - TAIL))) if len(spared) else p99_ms
    return Tail(len(slowest), int(touched[slowest].sum()), p99_ms, without)


def tail_json(found: Tail | None) -> Mapping[str, Any] | None:
    """For verdict.json, with the sentence."""
    return None if found is None else {**asdict(found), "statement": str(found)}
