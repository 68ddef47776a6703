"""What each client is to send, worked out beforehand: one function for each kind of workload.

The plan is stored in the run folder (`plan.parquet`), and the load generator does what it says. A
new workload is a new kind in `kinds.py` and a function here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.plan.workload import streams
from experiments.plan.workload.kinds import (
    Bulk,
    Calls,
    Closed,
    Http,
    LongLived,
    Requests,
    Trace,
    Workload,
    Wrk,
)

NONE = -1
"""Of `user`: nobody whose requests wait for one another."""


@dataclass(frozen=True, slots=True)
class Who:
    """One client of a run."""

    index: int
    clients: int
    """In all."""
    seed: int
    duration_s: float
    rate_per_s: float
    """Its part of the offered requests, where the load says so."""


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """One client's requests: arrays of one length, in the order of `arrivals_s` where there are
    any.

    `arrivals_s`: seconds after the start of load; NaN: `think_s` after the request before it of the
    same `user` has ended (NaN also where there is an arrival). Requests of one `connection` share
    one, which is closed after the last of them.
    """

    arrivals_s: NDArray[np.float64]
    demands_us: NDArray[np.int64]
    request_bytes: NDArray[np.int64]
    response_bytes: NDArray[np.int64]
    connections: NDArray[np.int64]
    users: NDArray[np.int64]
    think_s: NDArray[np.float64]

    def __len__(self) -> int:
        """Requests."""
        return len(self.arrivals_s)


class PlanError(ValueError):
    """The workload cannot be planned; the message says what is wrong with which setting."""


def plan_client(workload: Workload, who: Who) -> ClientPlan:
    """What one client sends. Raises PlanError."""
    return PLANNERS[type(workload)](workload, who)


def _open(
    arrivals_s: NDArray[np.float64],
    demands_us: NDArray[np.int64],
    sizes: tuple[NDArray[np.int64] | int, NDArray[np.int64] | int],
    connections: NDArray[np.int64],
) -> ClientPlan:
    count = len(arrivals_s)
    up, down = (np.broadcast_to(np.asarray(size, dtype=np.int64), count) for size in sizes)
    return ClientPlan(
        arrivals_s,
        demands_us,
        up,
        down,
        connections,
        np.full(count, NONE, dtype=np.int64),
        np.full(count, np.nan),
    )


def requests(workload: Requests, who: Who) -> ClientPlan:
    """Poisson; a connection each, or in turn over some."""
    stream = streams.client_stream(
        who.seed,
        who.index,
        rate_per_s=who.rate_per_s,
        duration_s=who.duration_s,
        demand=workload.demand,
        profile=workload.phases,
    )
    count = len(stream.arrivals_s)
    numbers = np.arange(count, dtype=np.int64)
    connections = numbers if workload.alone else numbers % workload.connections
    sizes = workload.request_bytes, workload.response_bytes
    return _open(stream.arrivals_s, stream.demands_us, sizes, connections)


def long_lived(workload: LongLived, who: Who) -> ClientPlan:
    """The same arrivals and demands; each on a connection drawn by the connections' shares."""
    stream = streams.client_stream(
        who.seed,
        who.index,
        rate_per_s=who.rate_per_s,
        duration_s=who.duration_s,
        demand=workload.demand,
    )
    rng = streams.connection_stream(who.seed, who.index)
    sigma = math.sqrt(math.log1p(workload.rate_cv2))
    shares = np.exp(sigma * rng.standard_normal(workload.connections))
    slots = rng.choice(workload.connections, len(stream.arrivals_s), p=shares / shares.sum())
    places = _generations(workload, rng, slots, stream.arrivals_s, who.duration_s)
    sizes = workload.request_bytes, workload.response_bytes
    return _open(stream.arrivals_s, stream.demands_us, sizes, places)


def _generations(
    workload: LongLived,
    rng: np.random.Generator,
    slots: NDArray[np.int64],
    arrivals_s: NDArray[np.float64],
    duration_s: float,
) -> NDArray[np.int64]:
    """Numbers of connections: a slot's next one once the life of the one before has ended."""
    if workload.lifetime_s is None:
        return slots.astype(np.int64)
    most = math.ceil(duration_s / workload.lifetime_s * 3) + 20
    ends_s = np.cumsum(rng.exponential(workload.lifetime_s, (workload.connections, most)), axis=1)
    generation = (ends_s[slots] <= arrivals_s[:, None]).sum(axis=1)
    numbered: NDArray[np.int64] = generation * workload.connections + slots
    return numbered


def closed(workload: Closed, who: Who) -> ClientPlan:
    """Per user as many requests as could ever be sent, each after the one before."""
    if workload.sessions_per_s is not None:
        return _partly_open(workload, who, workload.sessions_per_s)
    mine = range(who.index, workload.users, who.clients)
    cycle_s = (workload.think_ms + workload.mean_demand_ms) / 1e3
    each = math.ceil(3 * who.duration_s / cycle_s) + 50
    rng = streams.thinking_stream(who.seed, who.index)
    think_s = rng.exponential(workload.think_ms / 1e3, (len(mine), each))
    arrivals_s = np.full((len(mine), each), np.nan)
    arrivals_s[:, 0] = think_s[:, 0]
    think_s[:, 0] = np.nan
    users = np.repeat(np.arange(len(mine), dtype=np.int64), each)
    return _chains(workload, who, arrivals_s.ravel(), think_s.ravel(), users)


def _partly_open(workload: Closed, who: Who, sessions_per_s: float) -> ClientPlan:
    starts_s = streams.arrivals(who.seed, who.index, sessions_per_s / who.clients, who.duration_s)
    rng = streams.thinking_stream(who.seed, who.index)
    lengths = rng.geometric(1 / workload.requests_per_session, len(starts_s))
    users = np.repeat(np.arange(len(starts_s), dtype=np.int64), lengths)
    think_s = rng.exponential(workload.think_ms / 1e3, len(users))
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)[: len(starts_s)]
    arrivals_s = np.full(len(users), np.nan)
    arrivals_s[first] = starts_s
    think_s[first] = np.nan
    return _chains(workload, who, arrivals_s, think_s, users)


def _chains(
    workload: Closed,
    who: Who,
    arrivals_s: NDArray[np.float64],
    think_s: NDArray[np.float64],
    users: NDArray[np.int64],
) -> ClientPlan:
    count = len(arrivals_s)
    return ClientPlan(
        arrivals_s,
        streams.demands_us(who.seed, who.index, workload.demand, count),
        np.full(count, workload.request_bytes, dtype=np.int64),
        np.full(count, workload.response_bytes, dtype=np.int64),
        np.arange(count, dtype=np.int64),
        users,
        think_s,
    )


def bulk(workload: Bulk, who: Who) -> ClientPlan:
    """Poisson transfers of drawn sizes."""
    law = workload.law
    per_s = workload.offered_mbps * 1e6 / 8 / law.mean() / who.clients
    arrivals_s = streams.arrivals(who.seed, who.index, per_s, who.duration_s)
    count = len(arrivals_s)
    sizes = law.draw(streams.size_stream(who.seed, who.index), count)
    numbers = np.arange(count, dtype=np.int64)
    up = {"up": np.ones(count, bool), "down": np.zeros(count, bool), "both": numbers % 2 == 0}
    goes_up = up[workload.direction]
    directed = np.where(goes_up, sizes, 0), np.where(goes_up, 0, sizes)
    demands_us = streams.demands_us(who.seed, who.index, workload.demand, count)
    return _open(arrivals_s, demands_us, directed, numbers)


def calls(workload: Calls, who: Who) -> ClientPlan:
    """Every call from its own moment on, evenly."""
    rng = streams.connection_stream(who.seed, who.index)
    interval_s = workload.packet_ms / 1e3
    each = int(who.duration_s / interval_s)
    offsets_s = rng.uniform(0, interval_s, workload.calls_per_client)
    times_s = offsets_s[:, None] + interval_s * np.arange(each)
    order = np.argsort(times_s.ravel(), kind="stable")
    flows = np.repeat(np.arange(workload.calls_per_client, dtype=np.int64), each)[order]
    count = len(order)
    sizes = workload.payload_bytes, workload.payload_bytes
    demands_us = streams.demands_us(who.seed, who.index, workload.demand, count)
    return _open(times_s.ravel()[order], demands_us, sizes, flows)


def http(workload: Http, who: Who) -> ClientPlan:
    """Poisson; a connection each, or in turn over some. What it costs the server is not planned."""
    arrivals_s = streams.arrivals(who.seed, who.index, who.rate_per_s, who.duration_s)
    numbers = np.arange(len(arrivals_s), dtype=np.int64)
    connections = numbers if workload.alone else numbers % workload.connections
    return _open(arrivals_s, np.zeros_like(numbers), (0, workload.response_bytes), connections)


def wrk(workload: Wrk, who: Who) -> ClientPlan:
    """Nothing: it sends the next when the one before was answered."""
    none = np.zeros(0, dtype=np.int64)
    return _open(np.zeros(0), none, (0, workload.response_bytes), none)


_TRACE_COLUMNS = ("time_s", "client", "request_bytes", "response_bytes", "demand_ms")


def trace(workload: Trace, who: Who) -> ClientPlan:
    """The file's rows of this client."""
    rows = read_trace(Path(workload.path))
    times_s = (rows["time_s"] - rows["time_s"].min()) / workload.speedup
    places = pd.factorize(rows["client"], sort=True)[0] % who.clients
    mine = (places == who.index) & (times_s < who.duration_s)
    rows, times_s = rows[mine], times_s[mine]
    numbers = np.arange(len(rows), dtype=np.int64)
    connections = numbers if workload.alone else numbers % workload.connections
    sizes = tuple(rows[name].to_numpy(np.int64) for name in ("request_bytes", "response_bytes"))
    demands_us = np.rint(rows["demand_ms"].to_numpy(float) * 1000).astype(np.int64)
    return _open(times_s.to_numpy(float), demands_us, (sizes[0], sizes[1]), connections)


def read_trace(path: Path) -> pd.DataFrame:
    """In order of time. Raises PlanError, naming the file and what it lacks."""
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise PlanError(f"workload.path {path}: cannot be read: {error}") from error
    if missing := [name for name in _TRACE_COLUMNS if name not in rows.columns]:
        raise PlanError(
            f"workload.path {path}: it has no column {', '.join(missing)}; "
            f"wanted are {', '.join(_TRACE_COLUMNS)}"
        )
    numbers = rows[[name for name in _TRACE_COLUMNS if name != "client"]]
    try:
        values = numbers.to_numpy(float)
    except (TypeError, ValueError) as error:
        raise PlanError(f"workload.path {path}: not a number: {error}") from error
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        place, column = (int(found[0]) for found in np.nonzero(bad))
        name, value = str(numbers.columns[column]), values[place, column]
        raise PlanError(
            f"workload.path {path}: row {place + 1}: {name} is {value:g}, expected 0 or more"
        )
    if rows.empty:
        raise PlanError(f"workload.path {path}: it has no rows")
    ordered: pd.DataFrame = rows.sort_values("time_s", kind="stable", ignore_index=True)
    return ordered


PLANNERS: dict[type[Workload], Callable[[Any, Who], ClientPlan]] = {
    Requests: requests,
    LongLived: long_lived,
    Closed: closed,
    Bulk: bulk,
    Calls: calls,
    Trace: trace,
    Http: http,
    Wrk: wrk,
}


def plan_frame(names: Sequence[str], plans: Sequence[ClientPlan]) -> pd.DataFrame:
    """Table `plan` of all clients."""
    frames = [
        pd.DataFrame(
            {
                "client": name,
                "seq": np.arange(len(each), dtype=np.int64),
                "arrival_s": each.arrivals_s,
                "think_s": each.think_s,
                "user": each.users,
                "connection": each.connections,
                "demand_us": each.demands_us,
                "request_bytes": each.request_bytes,
                "response_bytes": each.response_bytes,
            }
        )
        for name, each in zip(names, plans, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)
