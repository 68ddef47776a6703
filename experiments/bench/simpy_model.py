"""The same network of queues as `experiments/simulation`, written a second time in SimPy: what the
simulation is checked against, and how fast it is compared with.

Only what needs no model of TCP: a star with a delay on client links alone, a connection for each
request, answers within the first window. The balancing objects are the same; time, queues and the
order of events are SimPy's.
"""

import json
import random
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import simpy

from experiments.lab.systems.nginy import balancer_config
from experiments.plan.scenario import Scenario
from nginy.address import Address
from nginy.backend.pool import BackendPool, Outcome, make_backend
from nginy.balancer.base import Balancer
from nginy.balancer.tiers import balancer_for
from nginy.config.load import parse
from nginy.traffic.rule import stream


class Served(NamedTuple):
    """One request's fate; times in seconds."""

    client: str
    seq: int
    backend: str
    ended_s: float


def run(scenario: Scenario) -> list[Served]:
    """Every request of the plan, in order of its end."""
    return _Model(scenario).run()


class _Model:
    def __init__(self, scenario: Scenario) -> None:
        hosts = {host.name: host.address for host in scenario.topology.hosts}
        names = scenario.backend_ids()
        addresses = {name: hosts[name] for name in names}
        written = json.dumps(balancer_config(scenario, addresses, Path("records")))
        config = parse(written, "the model's configuration")
        self.env = simpy.Environment()
        self._pool = BackendPool(make_backend(each) for each in config.backends)
        (rule,) = config.rules
        rng: random.Random = stream(scenario.seed, rule.name)
        members = self._pool.members(rule.backend_ids)
        self._balancer: Balancer[Any] = balancer_for(rule, members, rng, 0.0, _at_once)
        self._servers = {
            name: simpy.Resource(self.env, scenario.backends.servers) for name in names
        }
        self._speeds = {name: scenario.speed(index) for index, name in enumerate(names)}
        self._delay_s = scenario.client_link().delay_ms / 1e3
        self._scenario = scenario
        self._hosts = hosts
        self.served: list[Served] = []

    def run(self) -> list[Served]:
        for name, plan in zip(self._scenario.clients(), self._scenario.plans(), strict=True):
            self.env.process(self._client(name, plan.arrivals_s.tolist(), plan.demands_us.tolist()))
        self.env.run()
        return self.served

    def _client(
        self, name: str, arrivals_s: list[float], demands_us: list[int]
    ) -> Generator[Any, Any, None]:
        ports = count(1_024)
        for seq, (at_s, demand_us) in enumerate(zip(arrivals_s, demands_us, strict=True)):
            yield self.env.timeout(at_s - self.env.now)
            client = Address(self._hosts[name], next(ports))
            self.env.process(self._request(name, seq, client, demand_us / 1e6))

    def _request(
        self, name: str, seq: int, client: Address, demand_s: float
    ) -> Generator[Any, Any, None]:
        """Handshake and request are one and a half round trips; then the backend; then back; and
        the client's end of the connection travels once more."""
        env, trip_s = self.env, self._delay_s
        yield env.timeout(3 * trip_s)
        backend = self._balancer.pick(client, env.now)
        assert backend is not None
        lease = self._pool.lease(backend, self._balancer, env.now)
        lease.connected(0.0, env.now)
        with self._servers[backend.id].request() as turn:
            yield turn
            yield env.timeout(demand_s / self._speeds[backend.id])
        yield env.timeout(trip_s)
        self.served.append(Served(name, seq, backend.id, env.now))
        yield env.timeout(trip_s)
        lease.release(Outcome(), env.now)


def _at_once(work: Any) -> None:
    """Nothing has to wait for other traffic here."""
