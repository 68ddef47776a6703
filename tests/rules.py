"""Rules at work, for tests: under a hand-set clock, without a socket."""

import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool, make_backend
from nginy.config.load import parse
from nginy.config.model import Config
from nginy.engine.timers import TimerWheel
from nginy.errors import BackendError
from nginy.traffic.admission import Census
from nginy.traffic.attempt import Attempt, BackendWithdrawn
from nginy.traffic.background import Background
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
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
        run_soon = self.soon.append
        self.around = Surroundings(
            self.pool, self.census, self.ledger, self.wheel, run_soon, Background(run_soon), seed
        )
        self.rules = [RunningRule(rule, self.around, now) for rule in config.rules]

    @property
    def rule(self) -> RunningRule:
        (rule,) = self.rules
        return rule

    def backend(self, number: int) -> Backend:
        """The one called b1, b2, ..."""
        return self.pool[f"b{number}"]

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

    def assert_consistent(self) -> None:
        """Whatever is counted is counted everywhere."""
        active = sum(backend.active for backend in self.pool.values())
        assert active == self.pool.open_leases == sum(len(rule.live) for rule in self.rules)
        assert self.census.open == sum(rule.admission.open for rule in self.rules)

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


def one_rule(*backends: dict[str, Any], top: dict[str, Any] | None = None, **rule: Any) -> World:
    """One rule for everybody over `backends`, whose ids are b1, b2, ..."""
    ids = [f"b{number}" for number in range(1, len(backends) + 1)]
    listed = [
        {"id": name, "address": f"10.0.0.{number}:80", **settings}
        for number, (name, settings) in enumerate(zip(ids, backends, strict=True), 1)
    ]
    rule = {"name": "web", "clients": ["0.0.0.0/0:80"], "targets": ids, **rule}
    return world(json.dumps({"backends": listed, "rules": [rule], **(top or {})}))


CLIENT = Address("10.9.0.1", 1000)
LISTENER = Address("0.0.0.0", 80)
REFUSED = BackendError("refused", "ECONNREFUSED")


class Boom(Exception):
    """A fault of nginy, put there by a test."""


class Carrier:
    """Whoever carries an attempt, as a connection or session does, but without a socket.

    A `Live` and a `Sleeper`. What is raised in a step ends the attempt, as in a strand.
    """

    def __init__(
        self, world: World, client: Address = CLIENT, *, rule: RunningRule | None = None
    ) -> None:
        """Raises ConnectionEnd if it is refused."""
        self.world = world
        self.attempt = Attempt.begin(rule or world.rule, LISTENER, client, world.now)
        self.attempt.carrier = self

    @property
    def backend(self) -> str | None:
        """The id of what it holds a lease on."""
        leased = self.attempt.leased
        return None if leased is None else leased.id

    @property
    def reason(self) -> CloseReason | None:
        return self.attempt.close_reason if self.attempt.closed else None

    def choose(self, *, waits: bool = True) -> str | None:
        """The id of what was chosen; None: it waits, or was ended."""
        sleeper = self if waits else None
        self.step(lambda: self.attempt.choose(self.world.now, sleeper))
        return self.backend

    def reach(self) -> None:
        self.step(lambda: self.attempt.reached(self.world.now))

    def carry(self, up: int, down: int) -> None:
        self.attempt.bytes_up += up
        self.attempt.bytes_down += down
        if down and self.attempt.first_byte_s is None:
            self.step(lambda: self.attempt.first_byte(self.world.now))

    def report(self) -> None:
        self.step(lambda: self.attempt.progressed(self.world.now))

    def fail(self, error: BackendError = REFUSED) -> None:
        self.step(lambda: self.attempt.failed(error, self.world.now))

    def close(self, reason: CloseReason = CloseReason.COMPLETED) -> None:
        with suppress(Boom):
            self.attempt.close(reason, self.world.now)

    def step(self, what: Callable[[], object]) -> None:
        try:
            what()
        except ConnectionEnd as end:
            self.close(end.reason)
        except Boom:
            self.close(CloseReason.INTERNAL_ERROR)

    def resume(self, value: object) -> None:
        assert isinstance(value, Backend)
        self.step(lambda: self.attempt.placed(value, self.world.now))

    def throw(self, error: Exception) -> None:
        def wait() -> None:
            raise error

        self.step(wait)

    def end(self, reason: CloseReason) -> None:
        if self.attempt.connected_s is None:
            self.fail(BackendWithdrawn("given up while connecting", "withdrawn"))
            if not self.attempt.closed:
                self.choose()
        else:
            self.close(reason)

    def rebind(self) -> None:
        self.step(lambda: self.attempt.leave(self.world.now))
        self.attempt.begin_trial()

    def carried(self) -> tuple[int, int]:
        return self.attempt.carried()
