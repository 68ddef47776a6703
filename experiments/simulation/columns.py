"""Of many connections at once: what was asked, who served it, and all that follows from that, as
columns and tables. Pure; see `express.py`, whose sums these are."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.plan.scenario import Scenario
from experiments.simulation.happened import sample_times
from experiments.simulation.place import Place
from experiments.simulation.way import MSS_BYTES, waits_for_windows
from experiments.tables.schema import connections_of_columns, requests_of_columns
from experiments.wire.stream import REQUEST_BYTES, RESPONSE_HEADER_BYTES
from nginy.address import Address
from nginy.backend.backend import Backend

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class ConstantWay(NamedTuple):
    """Seconds, constant."""

    up_s: float
    down_s: float

    @property
    def trip_s(self) -> float:
        """There and back."""
        return self.up_s + self.down_s


class Asked(NamedTuple):
    """All connections, in the order in which they are accepted; columns of one length."""

    client: Whole
    seq: Whole
    arrival_s: Floats
    established_s: Floats
    accepted_s: Floats
    demand_us: Whole
    request_bytes: Whole
    response_bytes: Whole
    connection: Whole
    user: Whole
    port: Whole

    def addresses(self, hosts: Sequence[str]) -> Iterator[Address]:
        """The clients' ends of the connections; `hosts`: addresses of all clients."""
        pairs = zip(self.client.tolist(), self.port.tolist(), strict=True)
        return (Address(hosts[client], port) for client, port in pairs)


class Served(NamedTuple):
    """What became of them."""

    backend: Whole
    start_s: Floats
    finish_s: Floats
    left: int
    """Leases that are still held."""


class Times(NamedTuple):
    """Of each connection, in seconds."""

    reached: Floats
    comes: Floats
    """Its request, to the backend."""
    passed_on: Floats
    """The backend's first byte, by the balancer."""
    first: Floats
    """Byte of the answer, at the client."""
    done: Floats
    closed: Floats

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        asked: Asked,
        served: Served,
        ways: Sequence[ConstantWay],
        to_server: Sequence[ConstantWay],
    ) -> "Times":
        """In the order of sums of the general loop, which decides their last bits."""
        up, down, trip = _columns(ways, asked.client)
        server_up, server_down, server_trip = _columns(to_server, served.backend)
        reached = (asked.accepted_s + server_up) + server_down
        passed_on = served.finish_s + server_down
        first = passed_on + down
        segments = np.maximum(1, -(-(asked.response_bytes + RESPONSE_HEADER_BYTES) // MSS_BYTES))
        done = first + _waits(segments, server_trip, trip)
        closed = (done + up) + server_trip
        return cls(reached, reached + server_up, passed_on, first, done, closed)


def _waits(segments: Whole, server_trip: Floats, trip: Floats) -> Floats:
    """Of each connection; worked out once for all that are alike."""
    counts, one = np.unique(segments, return_inverse=True)
    trips, two = np.unique(server_trip, return_inverse=True)
    others, three = np.unique(trip, return_inverse=True)
    alike, which = np.unique((one * len(trips) + two) * len(others) + three, return_inverse=True)
    waits = [
        waits_for_windows(
            int(counts[each // (len(trips) * len(others))]),
            (float(trips[each // len(others) % len(trips)]), float(others[each % len(others)])),
        )
        for each in alike.tolist()
    ]
    return np.array(waits)[which]


def _columns(ways: Sequence[ConstantWay], chosen: Whole) -> tuple[Floats, Floats, Floats]:
    ups, downs, trips = zip(*((way.up_s, way.down_s, way.trip_s) for way in ways), strict=True)
    return np.array(ups)[chosen], np.array(downs)[chosen], np.array(trips)[chosen]


def requests_table(
    scenario: Scenario,
    place: Place,
    asked: Asked,
    served: Served,
    times: Times,
    local: Sequence[str],
) -> pd.DataFrame:
    """`local`: the clients' ends of the connections."""
    names = np.array(scenario.clients(), dtype=object)
    backends = np.array(list(place.servers), dtype=object)
    return requests_of_columns(
        {
            "client": names[asked.client],
            "seq": asked.seq,
            "intended_s": asked.arrival_s,
            "sent_s": asked.arrival_s,
            "connected_s": asked.established_s,
            "first_byte_s": times.first,
            "ended_s": times.done,
            "status": "ok",
            "backend": backends[served.backend],
            "demand_ms": asked.demand_us / 1000,
            "wait_ms": np.rint((served.start_s - times.comes) * 1e6) / 1000,
            "service_ms": np.rint((served.finish_s - served.start_s) * 1e6) / 1000,
            "response_bytes": asked.response_bytes,
            "bytes_received": asked.response_bytes,
            "request_bytes": asked.request_bytes,
            "connection": asked.connection,
            "user": asked.user,
            "local": local,
            "protocol": "tcp",
        }
    )


def connections_table(
    place: Place, asked: Asked, served: Served, times: Times, local: Sequence[str]
) -> pd.DataFrame:
    """As the balancer's close records say it."""
    (balancer,) = place.balancers
    members: list[Backend] = [balancer.pool[name] for name in place.servers]
    ids = np.array([each.id for each in members], dtype=object)
    addresses = np.array([str(each.address) for each in members], dtype=object)
    first = next(balancer.rule.ledger.numbers)
    return connections_of_columns(
        {
            "id": [str(number) for number in range(first, first + len(asked.seq))],
            "rule": balancer.rule.name,
            "listener": str(balancer.listener),
            "client": local,
            "backend": ids[served.backend],
            "backend_address": addresses[served.backend],
            "opened_s": asked.accepted_s,
            "closed_s": times.closed,
            "connect_ms": _rounded_ms(asked.accepted_s, times.reached),
            "first_byte_ms": _rounded_ms(asked.accepted_s, times.passed_on),
            "duration_ms": _rounded_ms(asked.accepted_s, times.closed),
            "bytes_up": REQUEST_BYTES + asked.request_bytes,
            "bytes_down": RESPONSE_HEADER_BYTES + asked.response_bytes,
            "backends_tried": [[one] for one in ids[served.backend]],
            "close_reason": "completed",
            "protocol": "tcp",
        }
    )


def _rounded_ms(begin_s: Floats, end_s: Floats) -> list[float]:
    """As `close_record` rounds: correctly, which numpy does not."""
    return [round(each, 3) for each in ((end_s - begin_s) * 1e3).tolist()]


def sample_rows(
    scenario: Scenario, place: Place, served: Served, times: Times
) -> Iterator[dict[str, Any]]:
    """Of every server at `sample_times`."""
    moments = np.array(list(sample_times(scenario, len(place.servers))))
    order = np.argsort(served.backend, kind="stable")
    parts = np.split(
        order, np.cumsum(np.bincount(served.backend, minlength=len(place.servers)))[:-1]
    )
    until: list[tuple[Whole, ...]] = []
    for part in parts:
        happened = (
            times.comes[part], served.start_s[part], served.finish_s[part],
            times.closed[part],
        )  # fmt: skip
        until.append(tuple(np.searchsorted(np.sort(each), moments, "right") for each in happened))
    for at, t_s in enumerate(moments.tolist()):
        for name, (came, began, ended, closed) in zip(place.servers, until, strict=True):
            yield {
                "t_s": t_s,
                "backend": name,
                "active_connections": int(came[at] - closed[at]),
                "queue_length": int(came[at] - began[at]),
                "busy": int(began[at] - ended[at]),
                "arrived": int(came[at]),
                "completed": int(ended[at]),
                "rejected": 0,
            }


def final_counters(
    scenario: Scenario, place: Place, asked: Asked, served: Served
) -> dict[str, dict[str, Any]]:
    """Of every server, by name."""
    speeds = np.array([scenario.speed(index) for index in range(len(place.servers))])
    service_s = asked.demand_us / 1e6 / speeds[served.backend]
    count = np.bincount(served.backend, minlength=len(place.servers))
    busy_s = np.bincount(served.backend, weights=service_s, minlength=len(place.servers))
    return {
        name: {
            "backend": name,
            "arrived": int(count[index]),
            "completed": int(count[index]),
            "rejected": 0,
            "busy_time_s": float(busy_s[index]),
        }
        for index, name in enumerate(place.servers)
    }
