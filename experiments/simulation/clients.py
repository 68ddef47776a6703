"""Clients in virtual time: what the load generator does, without sockets."""

from collections.abc import Callable, Iterator
from itertools import cycle

from experiments.hosts.client.planned import Planned, look_up
from experiments.hosts.client.request_record import RequestRecord, Status
from experiments.plan.scenario import Scenario
from experiments.plan.workload.plan import ClientPlan
from experiments.plan.workload.streams import choices
from experiments.simulation.connection import Connection
from experiments.simulation.events import Event
from experiments.simulation.place import Place
from experiments.simulation.session import Session
from nginy.address import Address

FIRST_PORT, LAST_PORT = 1_024, 65_535
"""As the virtual hosts choose them."""

Flow = Connection | Session


def planned(plan: ClientPlan) -> Planned:
    """As the load generator reads it from its file."""
    return look_up(
        plan.arrivals_s.tolist(),
        plan.think_s.tolist(),
        plan.demands_us.tolist(),
        plan.request_bytes.tolist(),
        plan.response_bytes.tolist(),
        plan.connections.tolist(),
        plan.users.tolist(),
    )


class Client:
    """One client host: sends what its plan says, and writes down what came of it."""

    def __init__(self, scenario: Scenario, place: Place, index: int, plan: Planned) -> None:
        """Nothing is scheduled yet."""
        self.name = scenario.clients()[index]
        self._scenario = scenario
        self._place = place
        self._events = place.events
        self._plan = plan
        self._next = 0
        self._timeout_s = scenario.workload.timeout_ms / 1e3
        self._udp = scenario.protocol == "udp"
        self._flows: dict[int, Flow] = {}
        self._timeouts: dict[int, Event] = {}
        self._balancers = self._spread(index)
        self._ports: Iterator[int] = cycle(range(FIRST_PORT, LAST_PORT + 1))
        self.records: list[RequestRecord] = []
        self.on_end: Callable[[RequestRecord], None] | None = None

    def _spread(self, index: int) -> Iterator[int]:
        """Places of balancers, connection by connection."""
        count = len(self._place.balancers)
        if getattr(self._scenario.network, "spread", "flow") == "client":
            return cycle([index % count])
        return choices(self._scenario.seed, index, count)

    def start(self) -> None:
        """Schedule the first request; each schedules the next."""
        self._schedule()

    def _schedule(self) -> None:
        timed = self._plan.timed
        if self._next < len(timed):
            at_s = self._plan.arrivals_s[timed[self._next]]
            self._events.call_at(at_s, self._launch_next)

    def _launch_next(self) -> None:
        seq = self._plan.timed[self._next]
        self._next += 1
        self._schedule()
        self._launch(seq)

    def _launch(self, seq: int) -> None:
        plan, now_s = self._plan, self._events.time()
        record = RequestRecord(
            self.name,
            seq,
            now_s,
            plan.demands_us[seq] / 1000,
            plan.response_bytes[seq],
            plan.request_bytes[seq],
            plan.connections[seq],
            plan.users[seq],
            sent_s=now_s,
        )
        if self._udp:
            record.protocol, record.copies = "udp", 0
        self.records.append(record)
        flow = self._flows.get(record.connection)
        if flow is None or not flow.usable:
            flow = self._flows[record.connection] = self._new_flow()
        last = plan.last_of[record.connection] == seq
        if last:
            del self._flows[record.connection]
        due_s = now_s + self._timeout_s
        self._timeouts[seq] = self._events.call_at(due_s, flow.time_out, record)
        flow.send(record, last=last)

    def _new_flow(self) -> Flow:
        place = next(self._balancers)
        balancer = self._place.balancers[place]
        way = self._place.way(self.name, self._scenario.balancers()[place])
        client = Address(self._place.address(self.name), next(self._ports))
        return (Session if self._udp else Connection)(self._place, way, balancer, client)

    def ended(self, record: RequestRecord, status: Status) -> None:
        """One of its requests has."""
        record.status = status
        record.ended_s = self._events.time()
        self._timeouts.pop(record.seq).cancel()
        following = self._plan.following.get(record.seq)
        if following is not None:
            at_s = record.ended_s + self._plan.think_s[following]
            if at_s < self._scenario.duration_s:
                self._events.call_at(at_s, self._launch, following)
