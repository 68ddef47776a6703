"""Rules at work, for tests: under a hand-set clock, without a socket."""

from collections import deque
from collections.abc import Callable
from typing import Any

from nginy.address import Address
from nginy.backend.pool import BackendPool, make_backend
from nginy.config.load import parse
from nginy.config.model import Config
from nginy.engine.timers import TimerWheel
from nginy.traffic.admission import Census
from nginy.traffic.ledger import Ledger
from nginy.traffic.rule import RunningRule, Surroundings

TICK_S = 0.05


class World:
    """A process's rules and their surroundings; time is set by hand."""

    def __init__(self, config: Config, now: float = 0.0, seed: int = 1) -> None:
        self.config = config
        self.now = now
        self.records: list[dict[str, Any]] = []
        self.pool = BackendPool(make_backend(each) for each in config.backends)
        self.wheel = TimerWheel(TICK_S, now)
        self.soon: deque[Callable[[float], None]] = deque()
        self.census = Census(config.limits.max_connections)
        self.ledger = Ledger(self.records.append)
        self.around = Surroundings(
            self.pool, self.census, self.ledger, self.wheel, self.soon.append, seed
        )
        self.rules = [RunningRule(rule, self.around, now) for rule in config.rules]

    @property
    def rule(self) -> RunningRule:
        (rule,) = self.rules
        return rule

    def settle(self) -> None:
        """What an event loop does after its events."""
        while self.soon:
            self.soon.popleft()(self.now)

    def advance(self, seconds: float) -> None:
        """Let time pass, tick by tick."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + TICK_S)
            self.wheel.advance(self.now)
            self.settle()

    def assert_nothing_left(self) -> None:
        assert self.pool.open_leases == 0
        assert [backend.active for backend in self.pool.values()] == [0] * len(self.pool)
        assert [len(rule.live) for rule in self.rules] == [0] * len(self.rules)
        assert [rule.admission.open for rule in self.rules] == [0] * len(self.rules)
        assert [len(rule.queue or ()) for rule in self.rules] == [0] * len(self.rules)
        assert self.census.open == 0
        assert len(self.wheel) == 0


def world(text: str) -> World:
    """Of a configuration in YAML."""
    return World(parse(text, "test"))


CLIENT = Address("10.9.0.1", 1000)
LISTENER = Address("0.0.0.0", 80)
