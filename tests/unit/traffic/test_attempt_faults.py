"""A fault in whoever is told of an attempt, at any of the calls it gets: nothing is left of it."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.wishes import Admin, Origin
from nginy.traffic.attempt import Attempt, BackendWithdrawn
from nginy.traffic.close_reason import CloseReason, ConnectionEnd
from nginy.traffic.rule import RunningRule
from tests.rules import LISTENER, TICK_S, Boom, Carrier, World, one_rule

DENIED = Address("10.66.0.1", 1000)
QUEUE_TIMEOUT_S = 1.0

Step = Callable[[Carrier], object]


class Fault:
    """Counts the calls of what it is put into, and raises once, at call number `at`."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.calls: list[str] = []

    def put_into(self, owner: Any, *names: str) -> None:
        for name in names:
            setattr(owner, name, self.around(name, getattr(owner, name)))

    def around(self, name: str, told: Callable[..., Any]) -> Callable[..., Any]:
        def tell(*args: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 == self.at:
                raise Boom(name)
            return told(*args)

        return tell


class Watching:
    """Watches backends and their load, besides those who always do."""

    def state_changed(self, backend: Backend, now: float) -> None:
        pass

    def share_changed(self, backend: Backend, now: float) -> None:
        pass

    def load_changed(self, backend: Backend, now: float) -> None:
        pass


def world_with(fault: Fault, *, first: bool, **rule: Any) -> World:
    """Every observer there can be is at fault, but those of a single attempt.

    `first`: the watchers are told before all others, who then miss what was told; or after them.
    """
    world = one_rule(
        {"max_connections": 1, "max_fails": 1},
        {"max_connections": 1},
        {"max_connections": 2},
        strategy={"type": "least_bytes"},
        **rule,
    )
    watching = Watching()
    fault.put_into(watching, "state_changed", "share_changed", "load_changed")
    for backend in world.pool.values():
        place = 0 if first else len(backend.watchers)
        backend.watchers.insert(place, watching)
        backend.load_watchers.insert(place, watching)
    balancer = world.rule.balancer
    balancer.wants_progress = True
    fault.put_into(balancer, "pick", "opened", "connected", "first_byte", "moved", "closed")
    world.rule.after_pick = fault.around("after_pick", lambda now: None)
    world.ledger._write_record = fault.around("write_record", world.records.append)
    return world


class Script:
    """Attempts, and what befalls them. A fault ends the event it comes in; the next one follows."""

    def __init__(self, world: World, fault: Fault) -> None:
        self.world = world
        self._fault = fault
        self.begun: list[Carrier] = []

    def begin(self) -> Carrier:
        carrier = Carrier(self.world)
        self._fault.put_into(carrier, "end", "rebind", "carried")
        self.begun.append(carrier)
        return carrier

    def go_on(self, carrier: Carrier, *steps: Step) -> None:
        """Do of `steps` what still makes sense: to choose without a backend, all else with one."""
        for step in steps:
            if not carrier.attempt.closed and (step in CHOICES) != bool(carrier.backend):
                step(carrier)

    def event(self, what: Callable[..., object], *args: object) -> None:
        with suppress(Boom):
            what(*args, self.world.now)
        self.world.advance(TICK_S)

    def end(self) -> None:
        for carrier in self.begun:
            carrier.close(CloseReason.SHUTDOWN)
        self.world.advance(2 * TICK_S)


def choose_at_once(carrier: Carrier) -> None:
    carrier.choose(waits=False)


def is_withdrawn(carrier: Carrier) -> None:
    carrier.fail(BackendWithdrawn("given up while connecting", "withdrawn"))


def carry(carrier: Carrier) -> None:
    carrier.carry(1, 2)


CHOICES = (Carrier.choose, choose_at_once)
SERVED = (Carrier.reach, carry, Carrier.report, carry)


def tcp_life(script: Script) -> None:
    """Refused, withdrawn, served, closed with its backend; others wait for it, one in vain."""
    world = script.world
    first, *others = (script.begin() for _ in range(5))
    script.go_on(first, Carrier.choose, Carrier.fail, Carrier.choose, is_withdrawn, Carrier.choose)
    for carrier in others:
        script.go_on(carrier, Carrier.choose)
    for carrier in script.begun:
        script.go_on(carrier, *SERVED)
    for backend in world.pool.values():
        script.event(partial(backend.set_admin, Admin.DRAIN, origin=Origin.FILE))
        script.event(partial(backend.set_admin, Admin.READY, origin=Origin.FILE))
        script.event(backend.set_healthy, False)
        script.event(partial(backend.set_weight, 2, origin=Origin.FILE))
    world.advance(QUEUE_TIMEOUT_S)
    script.event(denied, world.rule)


def udp_life(script: Script) -> None:
    """Refused, answered, rebound, answered again, until its last backend is removed."""
    world = script.world
    client, other = script.begin(), script.begin()
    script.go_on(client, choose_at_once, Carrier.fail, choose_at_once, *SERVED)
    script.go_on(other, choose_at_once, *SERVED)
    script.event(world.backend(2).set_healthy, False)
    for carrier in (client, other):
        script.go_on(carrier, choose_at_once, *SERVED)
    for backend in tuple(world.pool.values()):
        script.event(backend.remove)


def denied(rule: RunningRule, now: float) -> None:
    with suppress(ConnectionEnd):
        Attempt.begin(rule, LISTENER, DENIED, now)


LIVES: dict[Callable[[Script], None], dict[str, Any]] = {
    tcp_life: {
        "queue": {"max_waiting": 2, "timeout_ms": int(QUEUE_TIMEOUT_S * 1e3)},
        "access": [{"deny": DENIED.host}],
        "live_connections": {"on_down": "close", "on_drain": "close_spread", "spread_s": TICK_S},
    },
    udp_life: {
        "protocol": "udp",
        "live_connections": {"on_down": "rebind", "on_removed": "close"},
    },
}


def lived(life: Callable[[Script], None], fault: Fault, *, first: bool) -> Script:
    script = Script(world_with(fault, first=first, **LIVES[life]), fault)
    life(script)
    script.end()
    return script


@pytest.mark.parametrize("first", [True, False], ids=["before the others", "after the others"])
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_nothing_is_left_whoever_raises_and_whenever(life, first):
    expected = lived(life, Fault(), first=first)
    expected.world.assert_nothing_left()
    for at in count():
        fault = Fault(at)
        script = lived(life, fault, first=first)
        if len(fault.calls) <= at:
            break
        assert_over(script, f"{fault.calls[at]}, call {at}", expected, fault.calls[at])
    assert set(fault.calls) >= {"pick", "opened", "connected", "first_byte", "moved", "closed"}
    assert set(fault.calls) >= {"state_changed", "load_changed", "after_pick", "write_record"}


def assert_over(script: Script, where: str, expected: Script, faulty: str) -> None:
    world = script.world
    try:
        world.assert_nothing_left()
    except AssertionError as error:
        raise AssertionError(f"left after a fault in {where}") from error
    assert all(carrier.attempt.closed for carrier in script.begun), where
    rule = world.rule
    assert all(rule.queue not in backend.watchers for backend in world.pool.values()), where
    ended = len(expected.world.records)
    assert sum(rule.closed.values()) == sum(world.ledger.closed[rule.protocol].values()) == ended
    assert len(world.records) == ended - (faulty == "write_record"), where
    assert rule.closed[CloseReason.INTERNAL_ERROR] <= 1, f"several are lost by a fault in {where}"
