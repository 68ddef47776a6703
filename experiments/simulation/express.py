"""The faster loop, for connections that nothing but their backend's queue can delay.

Where every way takes the same time again and again, nothing is lost and nobody is refused, all of a
connection follows from when it is accepted and which backend it gets. So one pass over the
connections, in the order in which they are accepted, asks the algorithm, keeps each backend's queue
by the recursion of Kiefer and Wolfowitz, and tells the algorithm of what ends in between: no event
for each step. An algorithm that does not look at load is told of nothing.

The rows are those of `loop.py`, to the last bit: every time is the same sum in the same order. What
cannot be told apart beforehand (two things at one moment, a timeout, a full queue) is found on the
way, and raises `NotExact`.
"""

import heapq
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.plan.scenario import Scenario
from experiments.simulation.clients import FIRST_PORT, LAST_PORT
from experiments.simulation.columns import (
    Asked,
    ConstantWay,
    Served,
    Times,
    connections_table,
    final_counters,
    requests_table,
    sample_rows,
)
from experiments.simulation.events import Events
from experiments.simulation.happened import Happened
from experiments.simulation.place import Place
from experiments.simulation.way import MSS_BYTES, waits_for_windows
from experiments.tables.schema import samples_frame
from experiments.wire.stream import REQUEST_BYTES, RESPONSE_HEADER_BYTES
from nginy.backend.pool import Lease, Outcome
from nginy.config.guard_settings import QueueSettings

BLIND = frozenset(
    {"round_robin", "random", "hash", "ip_hash", "ketama", "ring_hash", "maglev", "source", "first"}
)
"""They choose by the client, by turns or by chance, whatever is open at the backends (unless a
`load_factor` bounds that)."""
_EVERY = 8192
"""Connections between two words about progress."""


class NotExact(Exception):
    """This loop would not give what the general one gives; the message says why."""


def why_not(scenario: Scenario) -> str:
    """Why the general loop is needed; empty: it is not."""
    workload, balancer = scenario.workload, scenario.balancer
    specs = scenario.topology.specs.values()
    never = {
        "sessions of UDP have a loop of their own": scenario.protocol != "tcp",
        "connections carry several requests": not workload.alone,
        "requests wait for one another": workload.closed_loop,
        "several balancers": len(scenario.balancers()) > 1,
        "backends are probed or report": scenario.algorithm in ("prequal", "adaptive")
        or balancer.load_reports is True,
        "a backend may be full": balancer.max_connections or balancer.queue != QueueSettings(),
        "packets are lost": any(spec.loss_pct for spec in specs),
        "delays vary": any(spec.jitter_ms for spec in specs),
        "messages wait for a link's rate": any(spec.rate_mbps is not None for spec in specs),
    }
    return ", ".join(why for why, holds in never.items() if holds)


def run(scenario: Scenario, progress: Callable[[float], object] | None = None) -> Happened:
    """Every request of the scenario's plan. Raises NotExact."""
    events = Events()
    place = Place(scenario, events, _nobody)
    events.run()  # the algorithm's tables are made
    (balancer,) = scenario.balancers()
    ways = [_way(place, name, balancer) for name in scenario.clients()]
    to_server = [_way(place, balancer, name) for name in place.servers]
    asked = _asked(scenario, ways)
    hosts = [place.address(name) for name in scenario.clients()]
    serve = _serve_blindly if is_blind(scenario) else _serve
    served = serve(scenario, place, asked, hosts, ways, to_server, progress)
    times = Times.of(scenario, asked, served, ways, to_server)
    _check(scenario, asked, served, times)

    def tables() -> dict[str, pd.DataFrame]:
        local = [str(address) for address in asked.addresses(hosts)]
        return {
            "requests": requests_table(scenario, place, asked, served, times, local),
            "connections": connections_table(place, asked, served, times, local),
            "samples": samples_frame(sample_rows(scenario, place, served, times), 0.0),
        }

    return Happened(
        len(asked.seq), tables, final_counters(scenario, place, asked, served), served.left
    )


def is_blind(scenario: Scenario) -> bool:
    """Whether the algorithm never looks at what is open."""
    bounded = scenario.algorithm_options.get("load_factor") is not None
    return scenario.algorithm in BLIND and not bounded


def _nobody(record: RequestRecord, status: Status) -> None:
    raise AssertionError("no request ends in an event here")


def _way(place: Place, source: str, destination: str) -> ConstantWay:
    way = place.way(source, destination)
    return ConstantWay(way.up.delay_s, way.down.delay_s)


# What is asked.


def _asked(scenario: Scenario, ways: Sequence[ConstantWay]) -> Asked:
    parts = []
    for index, plan in enumerate(scenario.plans()):
        count, way = len(plan.arrivals_s), ways[index]
        established_s = (plan.arrivals_s + way.up_s) + way.down_s
        ports = FIRST_PORT + np.arange(count) % (LAST_PORT + 1 - FIRST_PORT)
        columns: tuple[NDArray[Any], ...] = (
            np.full(count, index),
            np.arange(count),
            plan.arrivals_s,
            established_s,
            established_s + way.up_s,
            plan.demands_us,
            plan.request_bytes,
            plan.response_bytes,
            plan.connections,
            plan.users,
            ports,
        )
        parts.append(columns)
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    accepted_s = joined[4]
    order = np.argsort(accepted_s, kind="stable")
    if np.any(np.diff(accepted_s[order]) == 0):
        raise NotExact("two connections come at one moment")
    return Asked(*(column[order] for column in joined))


# Who serves it, and when.


def _serve_blindly(
    scenario: Scenario,
    place: Place,
    asked: Asked,
    hosts: Sequence[str],
    ways: Sequence[ConstantWay],
    to_server: Sequence[ConstantWay],
    progress: Callable[[float], object] | None,
) -> Served:
    (balancer,) = place.balancers
    pick = balancer.rule.balancer.pick
    number = {balancer.pool[name]: index for index, name in enumerate(place.servers)}
    queues = _Queues(scenario, to_server)
    chosen, starts, finishes = array("q"), array("d"), array("d")
    addresses = asked.addresses(hosts)
    columns = zip(addresses, asked.accepted_s.tolist(), asked.demand_us.tolist(), strict=True)
    for at, (client, now_s, demand_us) in enumerate(columns):
        backend = pick(client, now_s)
        assert backend is not None, "nobody is down here"
        index = number[backend]
        start_s, finish_s = queues.serve(index, now_s, demand_us)
        chosen.append(index)
        starts.append(start_s)
        finishes.append(finish_s)
        if progress is not None and not at % _EVERY:
            progress(now_s)
    return Served(np.array(chosen), np.array(starts), np.array(finishes), 0)


def _serve(
    scenario: Scenario,
    place: Place,
    asked: Asked,
    hosts: Sequence[str],
    ways: Sequence[ConstantWay],
    to_server: Sequence[ConstantWay],
    progress: Callable[[float], object] | None,
) -> Served:
    """As `_serve_blindly`, with what the algorithm is to be told in between, in order of time."""
    (balancer,) = place.balancers
    observer, pool = balancer.rule.balancer, balancer.pool
    number = {pool[name]: index for index, name in enumerate(place.servers)}
    queues = _Queues(scenario, to_server)
    told: list[_Told] = []
    chosen, starts, finishes = array("q"), array("d"), array("d")
    columns = zip(
        asked.addresses(hosts), asked.client.tolist(),
        asked.accepted_s.tolist(), asked.demand_us.tolist(),
        asked.request_bytes.tolist(), asked.response_bytes.tolist(), strict=True,
    )  # fmt: skip
    for at, (address, client, now_s, demand_us, sent, answered) in enumerate(columns):
        if told and told[0][0] <= now_s:
            _tell_until(told, now_s, chosen)
        backend = observer.pick(address, now_s)
        assert backend is not None, "nobody is down here"
        index = number[backend]
        start_s, finish_s = queues.serve(index, now_s, demand_us)
        chosen.append(index)
        starts.append(start_s)
        finishes.append(finish_s)
        lease = Lease(pool, backend, observer, now_s)
        story = _Story(lease, now_s, REQUEST_BYTES + sent, RESPONSE_HEADER_BYTES + answered)
        _tell_later(
            told, 3 * at, story, finish_s, ways[client], to_server[index], observer.wants_progress
        )
        if progress is not None and not at % _EVERY:
            progress(now_s)
    _tell_until(told, float("inf"), chosen)
    return Served(np.array(chosen), np.array(starts), np.array(finishes), pool.open_leases)


class _Story(NamedTuple):
    """What the algorithm is told of one connection."""

    lease: Lease
    accepted_s: float
    up: int
    down: int


_Told = tuple[float, float, int, Callable[..., object], tuple[Any, ...]]


def _tell_later(
    told: list[_Told],
    number: int,
    story: _Story,
    finish_s: float,
    way: ConstantWay,
    server: ConstantWay,
    progress_is_wanted: bool,
) -> None:
    lease, accepted_s, up, down = story
    reached_s = (accepted_s + server.up_s) + server.down_s
    connect_s = reached_s - accepted_s
    if reached_s == accepted_s:
        lease.connected(connect_s, reached_s)
    else:
        told_of = (connect_s, reached_s)
        heapq.heappush(told, (reached_s, accepted_s, number, lease.connected, told_of))
    begun_s = finish_s + server.down_s
    trips = (server.trip_s, way.trip_s)
    segments = max(1, -(-down // MSS_BYTES))
    done_s = (begun_s + way.down_s) + waits_for_windows(segments, trips)
    closed_s = (done_s + way.up_s) + server.trip_s
    if progress_is_wanted:
        first = (begun_s - accepted_s, begun_s)
        heapq.heappush(told, (begun_s, finish_s, number + 1, lease.first_byte, first))
    last_s = (done_s - way.down_s) - accepted_s
    outcome = Outcome(
        False, up, down, closed_s - accepted_s, connect_s, begun_s - accepted_s, last_s
    )
    ending = (lease, outcome, closed_s, up + down if progress_is_wanted else 0)
    heapq.heappush(told, (closed_s, done_s, number + 2, _close, ending))


def _close(lease: Lease, outcome: Outcome, now_s: float, moved: int) -> None:
    if moved:
        lease.moved(moved, now_s)
    lease.release(outcome, now_s)


def _tell_until(told: list[_Told], now_s: float, chosen: "array[int]") -> None:
    """All that is due; at one moment, what was certain earlier comes first, as in the general loop.
    Requests that take no time are certain together: at one backend in their order, elsewhere
    nobody knows."""
    pop, before = heapq.heappop, (-1.0, -1.0, 0)
    while told and told[0][0] <= now_s:
        at_s, since_s, number, tell, words = pop(told)
        together = (at_s, since_s) == before[:2] and not _follows(number, before[2], chosen)
        if together or at_s == now_s:
            raise NotExact("two things happen at one moment")
        before = at_s, since_s, number
        tell(*words)


def _follows(number: int, before: int, chosen: "array[int]") -> bool:
    """Whether the order of both is known by their numbers."""
    one, other = number // 3, before // 3
    return one == other or (number % 3 == before % 3 and chosen[one] == chosen[other])


class _Queues:
    """The backends' (`experiments/hosts/backend/fifo_server.py`), none of which is ever full."""

    def __init__(self, scenario: Scenario, to_server: Sequence[ConstantWay]) -> None:
        count = len(to_server)
        self._to_server = to_server
        self._speeds = [scenario.speed(index) for index in range(count)]
        self._free_s = [[float("-inf")] * scenario.backends.servers for _ in range(count)]

    def serve(self, index: int, accepted_s: float, demand_us: int) -> tuple[float, float]:
        """When the backend begins and ends the request of a connection accepted then."""
        up_s, down_s = self._to_server[index]
        comes_s = ((accepted_s + up_s) + down_s) + up_s
        free_s = self._free_s[index]
        earliest_s = free_s[0]
        start_s = comes_s if comes_s > earliest_s else earliest_s
        finish_s = start_s + demand_us / 1e6 / self._speeds[index]
        if len(free_s) == 1:
            free_s[0] = finish_s
        else:
            heapq.heapreplace(free_s, finish_s)
        return start_s, finish_s


def _check(scenario: Scenario, asked: Asked, served: Served, times: Times) -> None:
    """Raises NotExact for what the general loop would have decided otherwise."""
    if np.any(times.done >= asked.arrival_s + scenario.workload.timeout_ms / 1e3):
        raise NotExact("a request times out")
    limit = scenario.backends.queue_limit
    by_backend = np.lexsort((np.arange(len(asked.seq)), served.backend))
    for part in np.split(by_backend, np.cumsum(np.bincount(served.backend))[:-1]):
        began = np.sort(served.start_s[part])
        waiting = np.arange(len(part)) - np.searchsorted(began, times.comes[part], "right")
        # Those who came before and have not begun; who finds a free server does not count.
        if np.any((waiting >= limit) & (served.start_s[part] > times.comes[part])):
            raise NotExact("a backend's queue is full")
