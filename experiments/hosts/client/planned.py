"""One client's part of the plan, as the load generator looks things up in it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq


class Planned(NamedTuple):
    """By a request's number. Plain Python numbers: a numpy scalar costs more at each touch."""

    arrivals_s: Sequence[float]
    think_s: Sequence[float]
    demands_us: Sequence[int]
    request_bytes: Sequence[int]
    response_bytes: Sequence[int]
    connections: Sequence[int]
    users: Sequence[int]
    timed: Sequence[int]
    """Those with an arrival of their own, in its order."""
    following: dict[int, int]
    """The request that its user sends next."""
    last_of: dict[int, int]
    """By connection: its last request."""


def read_plan(path: Path, client: str) -> Planned:
    """Of a plan file. OSError or ValueError (pyarrow's are both) if it cannot be read."""
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["client"], client))
    column = {name: table[name].to_pylist() for name in table.column_names}
    return look_up(
        [math.nan if at is None else at for at in column["arrival_s"]],
        [math.nan if think is None else think for think in column["think_s"]],
        *(column[name] for name in _WHOLE),
    )


_WHOLE = ("demand_us", "request_bytes", "response_bytes", "connection", "user")


def look_up(
    arrivals_s: list[float],
    think_s: list[float],
    demands_us: list[int],
    request_bytes: list[int],
    response_bytes: list[int],
    connections: list[int],
    users: list[int],
) -> Planned:
    """By equally long columns of table `plan`; NaN where there is no arrival of its own."""
    following: dict[int, int] = {}
    latest: dict[int, int] = {}
    for seq, (user, arrival_s) in enumerate(zip(users, arrivals_s, strict=True)):
        if user >= 0:
            if math.isnan(arrival_s):
                following[latest[user]] = seq
            latest[user] = seq
    timed = (seq for seq, at in enumerate(arrivals_s) if not math.isnan(at))
    return Planned(
        arrivals_s,
        think_s,
        demands_us,
        request_bytes,
        response_bytes,
        connections,
        users,
        sorted(timed, key=arrivals_s.__getitem__),
        following,
        {connection: seq for seq, connection in enumerate(connections)},
    )
