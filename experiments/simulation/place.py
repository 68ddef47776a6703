"""What is simulated: servers, balancers, ways between them, and who is told of a request's end."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from experiments.hosts.backend.emulated_server import AnswerCallback, EmulatedServer
from experiments.hosts.backend.fifo_server import FifoServer
from experiments.hosts.backend.utilisation import REFERENCE_MBPS, Capacity, Reading, utilisation
from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.lab.ports import BACKEND_PORT
from experiments.plan.scenario import Scenario
from experiments.simulation.balancing import SimulatedBalancer
from experiments.simulation.events import Events
from experiments.simulation.way import Leg, Way
from experiments.wire.stream import Request
from nginy.backend.load import LoadReport
from nginy.traffic.record import Record
from topologies.shapes.shape import Shape

REPORT_INTERVAL_S = 0.5
WriteRecord = Callable[[Record], None]


class Ended(Protocol):
    """Who sent a request."""

    def __call__(self, record: RequestRecord, status: Status) -> None:
        """It has ended."""


class SimulatedServer:
    """An emulated backend in virtual time, and its open connections."""

    def __init__(self, events: Events, name: str, scenario: Scenario, index: int) -> None:
        """Idle."""
        self.name = name
        self._events = events
        self._settings = scenario.backends
        queue = FifoServer(
            scenario.backends.servers, scenario.speed(index), scenario.backends.queue_limit
        )
        self.emulated = EmulatedServer(events, name, queue)
        self.open = 0
        self._bytes = 0
        self._before = self._reading()

    def serve(self, request: Request, answer: AnswerCallback) -> None:
        """As an emulated backend does."""
        self._bytes += request.response_bytes
        self.emulated.serve(request, answer)

    def accepted(self) -> None:
        """A connection is open here."""
        self.open += 1

    def left(self, at_s: float) -> None:
        """One was closed."""
        self._events.call_at(at_s, self._closed)

    def _closed(self) -> None:
        self.open -= 1

    def report(self) -> LoadReport:
        """About the time since the last one."""
        now = self._reading()
        settings = self._settings
        capacity = Capacity(settings.servers, settings.queue_limit or 1, REFERENCE_MBPS)
        queued = self.emulated.state().queue_length
        busy = utilisation(self._before, now, queued, capacity)
        self._before = now
        latency_s = self.emulated.latency_s()
        return LoadReport(
            busy["cpu"], busy["mem"], busy["net"], busy["io"], self.emulated.in_flight, latency_s
        )

    def _reading(self) -> Reading:
        state, now_s = self.emulated.state(), self._events.time()
        return Reading(now_s, self.emulated.work_s(), state.busy_time_s, 0, self._bytes)


class Place:
    """All of it."""

    def __init__(
        self,
        scenario: Scenario,
        events: Events,
        ended: Ended,
        write_record: WriteRecord | None = None,
    ) -> None:
        """Nothing moves yet. `write_record` takes the balancers' close records."""
        self.events = events
        self.ended = ended
        self._shape: Shape = scenario.topology
        self._rng = random.Random(f"ways/{scenario.seed}")
        self._hosts = {host.name: host.address for host in self._shape.hosts}
        names = scenario.backend_ids()
        self.servers = {
            name: SimulatedServer(events, name, scenario, index) for index, name in enumerate(names)
        }
        addresses = {name: self._hosts[name] for name in names}
        self._balancer_names = scenario.balancers()
        self.balancers: Sequence[SimulatedBalancer] = [
            SimulatedBalancer(scenario, place, addresses, events, _numbered(write_record, place))
            for place, _ in enumerate(self._balancer_names)
        ]
        self._ways: dict[tuple[str, str], Way] = {}

    def address(self, host: str) -> str:
        """Of a host."""
        return self._hosts[host]

    def target(self, server: str) -> str:
        """`ip:port` of a backend."""
        return f"{self._hosts[server]}:{BACKEND_PORT}"

    def way(self, source: str, destination: str) -> Way:
        """Between two hosts, always the same one."""
        known = self._ways.get((source, destination))
        if known is None:
            shape, rng = self._shape, self._rng
            up = Leg(shape.specs_between(source, destination), rng)
            down = Leg(shape.specs_between(destination, source), rng)
            known = self._ways[source, destination] = Way(up, down)
        return known

    def way_to(self, balancer: SimulatedBalancer, server: SimulatedServer) -> Way:
        """From one of the balancers to a server."""
        return self.way(self._balancer_names[self.balancers.index(balancer)], server.name)


def _numbered(write_record: WriteRecord | None, place: int) -> WriteRecord | None:
    """Records of several balancers have numbers of their own."""
    if write_record is None or place == 0:
        return write_record

    def write(record: Record) -> None:
        write_record({**record, "id": f"{place}-{record['id']}"})

    return write
