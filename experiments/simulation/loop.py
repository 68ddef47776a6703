"""The loop in which everything may happen: an event for every step of every request."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any

import pandas as pd

from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.lab.systems.nginy import pushes_reports
from experiments.plan.scenario import Scenario
from experiments.simulation.balancing import SimulatedBalancer
from experiments.simulation.clients import Client, planned
from experiments.simulation.events import Events
from experiments.simulation.happened import Happened, sample_times
from experiments.simulation.place import REPORT_INTERVAL_S, Place, SimulatedServer
from experiments.simulation.support import probes
from experiments.tables.schema import connections_frame, requests_frame, samples_frame
from nginy.backend.backend import Backend
from nginy.traffic.record import Record


def run(scenario: Scenario, progress: Callable[[float], object] | None = None) -> Happened:
    """Every request of the scenario's plan, to its end; `progress` is told the virtual time."""
    events = Events()
    connections: list[Record] = []
    clients: dict[str, Client] = {}

    def ended(record: RequestRecord, status: Status) -> None:
        clients[record.client].ended(record, status)

    place = Place(scenario, events, ended, connections.append)
    for index, plan in enumerate(scenario.plans()):
        client = Client(scenario, place, index, planned(plan))
        clients[client.name] = client
        client.start()
    for balancer in place.balancers:
        _watch(scenario, place, balancer)
    samples: list[dict[str, Any]] = []
    _sample(scenario, place, samples)
    events.run(progress)
    records = [record for client in clients.values() for record in client.records]
    return Happened(
        len(records),
        lambda: _tables(records, connections, samples),
        {name: _final(server) for name, server in place.servers.items()},
        sum(balancer.pool.open_leases for balancer in place.balancers),
    )


def _tables(
    records: list[RequestRecord], connections: list[Record], samples: list[dict[str, Any]]
) -> dict[str, pd.DataFrame]:
    names = [field.name for field in fields(RequestRecord)]
    values = attrgetter(*names)
    rows = (dict(zip(names, values(record), strict=True)) for record in records)
    return {
        "requests": requests_frame(rows, 0.0),
        "connections": connections_frame(connections, 0.0),
        "samples": samples_frame(samples, 0.0),
    }


def _watch(scenario: Scenario, place: Place, balancer: SimulatedBalancer) -> None:
    """What asks and tells of backends beside the connections."""
    rule = balancer.rule
    if probes(rule.settings.strategy):
        rule.after_pick = lambda now_s: _probe(place, balancer, now_s)
    balancer.tick(scenario.duration_s, rule.after_pick)
    if pushes_reports(scenario):
        for name, server in place.servers.items():
            _push_report(scenario, place, balancer, server, balancer.pool[name])


def _probe(place: Place, balancer: SimulatedBalancer, now_s: float) -> None:
    for backend in balancer.rule.balancer.probes_due(now_s):
        server = place.servers[backend.id]
        way = place.way_to(balancer, server)
        if way.up.passes() and way.down.passes():
            asked_s = now_s + way.up.drawn_delay_s()
            place.events.call_at(asked_s, _answer_probe, place, balancer, server, backend)


def _answer_probe(
    place: Place, balancer: SimulatedBalancer, server: SimulatedServer, backend: Backend
) -> None:
    in_flight, latency_s = server.emulated.in_flight, server.emulated.latency_s()
    told_s = place.events.time() + place.way_to(balancer, server).down.drawn_delay_s()
    tell = balancer.rule.balancer.probed
    place.events.call_at(told_s, tell, backend, in_flight, latency_s, told_s)


def _push_report(
    scenario: Scenario,
    place: Place,
    balancer: SimulatedBalancer,
    server: SimulatedServer,
    backend: Backend,
) -> None:
    """Now, and every half second as long as the load lasts."""
    now_s = place.events.time()
    told_s = now_s + place.way_to(balancer, server).down.delay_s
    tell = balancer.rule.balancer.reported
    place.events.call_at(told_s, tell, backend, server.report(), told_s)
    if now_s < scenario.duration_s:
        again_s = now_s + REPORT_INTERVAL_S
        place.events.call_at(again_s, _push_report, scenario, place, balancer, server, backend)


def _sample(scenario: Scenario, place: Place, samples: list[dict[str, Any]]) -> None:
    """Now, and each time asks for the next."""
    servers = place.servers.values()
    times = sample_times(scenario, len(servers))

    def sample() -> None:
        samples.extend(_snapshots(servers, place.events.time()))
        next_s = next(times, None)
        if next_s is not None:
            place.events.call_at(next_s, sample)

    next(times)
    sample()


def _snapshots(servers: Iterable[SimulatedServer], now_s: float) -> Iterator[dict[str, Any]]:
    for server in servers:
        state = server.emulated.state()
        yield {
            "t_s": now_s,
            "backend": server.name,
            "active_connections": server.open,
            "queue_length": state.queue_length,
            "busy": state.busy,
            "arrived": state.arrived,
            "completed": state.completed,
            "rejected": state.rejected,
        }


def _final(server: SimulatedServer) -> dict[str, Any]:
    state = server.emulated.state()
    return {
        "backend": server.name,
        "arrived": state.arrived,
        "completed": state.completed,
        "rejected": state.rejected,
        "busy_time_s": state.busy_time_s,
    }
