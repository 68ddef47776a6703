"""Round robin, least_conn and least_time choose what nginx's walks over all members choose.

Any weights, failures, limits, drains, slow starts and weight changes; retries avoid some members.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.penalty import Penalty
from nginy.backend.pool import BackendPool, Lease, Outcome
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.round_robin import Standings
from nginy.config.strategies import STRATEGIES
from tests.unit.balancer.nginx_reference import Reference

CLIENT = Address("192.0.2.1", 40000)
METHODS: dict[str, Callable[..., Backend | None]] = {
    "round_robin": Reference.round_robin,
    "least_conn": Reference.least_conn,
    "least_time": Reference.least_time,
}
DELAYS_MS = (0, 5, 45, 105, 1200, 7000)
EVENTS = (
    "open",
    "open",
    "open",
    "retry",
    "close",
    "fail",
    "drain",
    "ready",
    "weigh",
    "sick",
    "time",
)
backends = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0, 0, 3]), st.integers(0, 3)),
    min_size=1,
    max_size=7,
)
events = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 99), st.integers(0, 99)), max_size=120
)


def standings(balancer: Balancer[Any]) -> Standings:
    return next(one for one in balancer.roster._followers if isinstance(one, Standings))


class Pair:
    """The balancer and its reference, to whom the same happens."""

    def __init__(self, method: str, servers: list[tuple[int, int, int]], **settings: Any) -> None:
        self.method = method
        self.settings = STRATEGIES[method](**settings)
        self.backends = [
            Backend(
                str(i),
                Address("127.0.0.1", i + 1),
                weight,
                max_connections=limit,
                penalty=Penalty(max_fails, 3.0),
                slow_start=SlowStart() if max_fails else SlowStart(8.0, 0.25),
            )
            for i, (weight, limit, max_fails) in enumerate(servers)
        ]
        self.pool = BackendPool(self.backends)
        self.balancer = make_balancer(self.settings, random.Random(0))
        self.balancer.rebuild(self.backends, 0.0)
        self.reference = Reference(self.backends)
        self.held: list[tuple[Lease, int]] = []
        self.now = 1.0

    def happen(self, event: str, a: int, b: int) -> None:
        backend = self.backends[a % len(self.backends)]
        if event in ("open", "retry"):
            avoid = {backend, self.backends[b % len(self.backends)]} if event == "retry" else ()
            self.open(avoid, DELAYS_MS[b % len(DELAYS_MS)])
        elif event in ("close", "fail") and self.held:
            self.close(*self.held.pop(a % len(self.held)), failed=event == "fail")
        elif event == "time":
            # Away from the limits of the halving and of penalties: those are nginx's whole seconds.
            self.now += b % 5 + 1.0
        elif event in ("drain", "ready"):
            backend.set_admin(
                Admin.DRAIN if event == "drain" else Admin.READY, self.now, Origin.FILE
            )
        elif event == "weigh":
            self.forgive(backend)
            backend.set_weight(b % 7, self.now, Origin.FILE)
        elif event == "sick":
            backend.set_healthy(not backend.healthy, self.now)
        for each in self.backends:
            each.ramp(self.now)

    def forgive(self, backend: Backend) -> None:
        """A punished backend's weight: see `Standing.reweigh`, which the reference leaves out."""
        peer = self.reference.peer(backend)
        standing = standings(self.balancer).of[backend]
        group = standing.group
        if group is not None:
            group.leave(standing)
        standing.effective = standing.share
        peer.lost = 0
        if group is not None:
            group.join(standing)

    def open(self, avoid: Any, delay_ms: int) -> None:
        expected = METHODS[self.method](self.reference, self.now, avoid)
        picked = self.balancer.pick(CLIENT, self.now, avoid)
        assert picked is expected
        if picked is None:
            return
        peer = self.reference.peer(picked)
        period = picked.penalty.fail_timeout_s + 1
        if self.now - peer.tried_at >= period:
            peer.tried_at = self.now
        if getattr(self.settings, "inflight", False):
            if peer.waiting:
                peer.waited_ms += round(1000 * (self.now - peer.waiting_since)) * peer.waiting
            peer.waiting_since = self.now
            peer.waiting += 1
        lease = self.pool.lease(picked, self.balancer, self.now)
        self.held.append((lease, delay_ms))

    def close(self, lease: Lease, delay_ms: int, *, failed: bool) -> None:
        peer = self.reference.peer(lease.backend)
        seconds = delay_ms / 1000
        if getattr(self.settings, "inflight", False):
            if peer.waiting > 1:
                passed = round(1000 * (self.now - peer.waiting_since))
                peer.waited_ms += passed * peer.waiting - delay_ms
                peer.waiting_since = self.now
            else:
                peer.waited_ms = 0
            peer.waiting -= 1
        if failed:
            peer.tried_at = self.now
            peer.punish()
        elif delay_ms or getattr(self.settings, "metric", "") != "last_byte":
            old = peer.average_ms
            peer.average_ms = int(0.5 + 0.05 * delay_ms + 0.95 * old) if old else delay_ms
        lease.release(Outcome(failed, 0, 0, seconds, seconds, seconds), self.now)


@pytest.mark.parametrize("method", METHODS)
@given(servers=backends, steps=events)
def test_the_same_choice_at_every_step(
    method: str, servers: list[tuple[int, int, int]], steps: list[tuple[str, int, int]]
) -> None:
    pair = Pair(method, servers)
    for step in steps:
        pair.happen(*step)


@given(servers=backends, steps=events)
def test_least_time_with_connections_in_flight(
    servers: list[tuple[int, int, int]], steps: list[tuple[str, int, int]]
) -> None:
    pair = Pair("least_time", servers, metric="last_byte", inflight=True)
    for step in steps:
        pair.happen(*step)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", ["equal", "mixed"])
def test_the_same_choices_among_many(method: str, weights: str) -> None:
    rng = random.Random(1)
    servers = [(1 if weights == "equal" else rng.randint(1, 5), 0, 2) for _ in range(200)]
    pair = Pair(method, servers)
    for _ in range(1500):
        event = rng.choice(("open", "open", "close", "fail"))
        pair.happen(event, rng.randrange(10_000), rng.randrange(6))
        pair.now += 0.01
