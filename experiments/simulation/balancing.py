"""One balancer in virtual time: nginy's own rule, backends and attempts, as its process has
them."""

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.lab.systems.nginy import balancer_config
from experiments.plan.scenario import Scenario
from experiments.simulation.events import Events
from nginy.address import Address
from nginy.backend.pool import BackendPool, make_backend
from nginy.config.load import parse
from nginy.engine.timers import TimerWheel
from nginy.traffic.admission import Census
from nginy.traffic.background import Background
from nginy.traffic.ledger import Ledger
from nginy.traffic.record import Record
from nginy.traffic.rule import RunningRule, Surroundings

TICK_S = 0.05
"""As the process (nginy/server/server.py)."""


class SimulatedBalancer:
    """Its own view of all backends, its own random stream."""

    def __init__(
        self,
        scenario: Scenario,
        place: int,
        addresses: Mapping[str, str],
        events: Events,
        write_record: Callable[[Record], None] | None,
    ) -> None:
        """`place` among the balancers, from 0; `addresses` of all backends."""
        self._events = events
        written = json.dumps(balancer_config(scenario, addresses, Path("records")))
        config = parse(written, "nginy's configuration as the scenario makes it")
        self.pool = BackendPool(make_backend(each) for each in config.backends)
        self._wheel = TimerWheel(TICK_S, 0.0)
        self._soon: deque[Callable[[float], None]] = deque()
        around = Surroundings(
            self.pool,
            Census(config.limits.max_connections),
            Ledger(write_record),
            self._wheel,
            self._run_soon,
            Background(self._run_soon),
            scenario.seed + place,
        )
        (rule,) = config.rules
        self.rule = RunningRule(rule, around, 0.0)
        self.listener = Address("0.0.0.0", 8080)

    def _run_soon(self, call: Callable[[float], None]) -> None:
        if not self._soon:
            self._events.call_at(self._events.time(), self._settle)
        self._soon.append(call)

    def _settle(self) -> None:
        """What the process does after its events."""
        for _ in range(len(self._soon)):
            self._soon.popleft()(self._events.time())
        if self._soon:
            self._events.call_at(self._events.time(), self._settle)

    def tick(self, until_s: float, each: Callable[[float], Any] | None = None) -> None:
        """Ask timers every `TICK_S`, as long as the load lasts or a timer waits; `each` besides."""
        now_s = self._events.time()
        self._wheel.advance(now_s)
        if each is not None:
            each(now_s)
        if now_s < until_s or len(self._wheel):
            self._events.call_at(now_s + TICK_S, self.tick, until_s, each)
