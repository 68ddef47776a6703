"""A rule at work: what a connection or session needs of it."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import BackendPool
from nginy.balancer.base import Balancer
from nginy.balancer.tiers import balancer_for
from nginy.config.model import Protocol, Rule
from nginy.config.parse import ClientMatch
from nginy.traffic.admission import Admission, Census
from nginy.traffic.background import Background
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.ledger import Ledger
from nginy.traffic.live import LiveConnections
from nginy.traffic.loops import Loops
from nginy.traffic.queue import WaitingQueue
from nginy.traffic.rate import Rates
from nginy.traffic.scheduler import RunSoon, Timers


class Limits(NamedTuple):
    """How long a relay may go without a byte, in seconds."""

    idle_s: float
    client_finished_s: float
    """The same, once the client has sent FIN."""
    backend_finished_s: float
    """Once the backend has, or is lost."""


NO_LOOPS: Mapping[Protocol, Loops] = MappingProxyType({"tcp": Loops(), "udp": Loops()})
"""Nothing listens."""


class Surroundings(NamedTuple):
    """What all rules of a process share."""

    pool: BackendPool
    census: Census
    ledger: Ledger
    timers: Timers
    run_soon: RunSoon
    background: Background
    seed: int
    loops: Mapping[Protocol, Loops] = NO_LOOPS


class RunningRule:
    """One rule. What it counts outlives its settings, which `update` replaces."""

    def __init__(self, rule: Rule, around: Surroundings, now: float) -> None:
        """Over its backends in the pool, from `now` on (seconds)."""
        self.pool = around.pool
        self.ledger = around.ledger
        self.loops = around.loops[rule.protocol]
        self._around = around
        self.settings = rule
        self.name = rule.name
        self.protocol: Protocol = rule.protocol
        self.after_pick: Callable[[float], object] | None = None
        """Told of every pick, if the algorithm wants probes."""
        self.balancer = self._balancer(rule, now)
        self.admission = Admission(rule.access, rule.limits, around.census)
        self.live = LiveConnections(rule.live_connections, around.timers, around.run_soon)
        self._waiting = WaitingQueue(
            rule.queue,
            self,
            lambda: self.balancer.members,
            around.timers,
            around.run_soon,
            heed_health=rule.all_down == "refuse",
        )
        self.balancer.tell(self._waiting)
        self.closed: Counter[CloseReason] = Counter()
        """What has ended, and what was refused."""
        self._set()

    @property
    def clients(self) -> Sequence[ClientMatch]:
        """Whom it is for, and at which ports."""
        return self.settings.clients

    @property
    def waiting(self) -> int:
        """How many connections wait in its queue."""
        return len(self._waiting)

    def members(self) -> tuple[Backend, ...]:
        """Its present backends."""
        return self.pool.members(self.settings.backend_ids)

    def pick(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The algorithm's choice; None: nobody."""
        backend = self.balancer.pick(client, now, avoid)
        if backend is not None and self.after_pick is not None:
            self.after_pick(now)
        return backend

    def rebuild(self, now: float) -> None:
        """Its backends in the pool are others now."""
        self.balancer.rebuild(self.members(), now)

    def update(self, rule: Rule, now: float) -> None:
        """Go on by another version of the rule: of the same name and protocol.

        What is open stays open, and counted: caps, queues and live policies apply from now on to
        all. The algorithm is a new one only if its settings are others (or whether it has tiers).
        If it cannot be made, the rule goes on as it was: whatever may fail is made before anything
        is replaced.
        """
        members = self.pool.members(rule.backend_ids)
        if _algorithm(self.settings, self.balancer.members) == _algorithm(rule, members):
            self.balancer.rebuild(members, now)
        else:
            successor = self._balancer(rule, now)
            self.balancer.rebuild((), now)
            self.balancer = successor
            self.balancer.tell(self._waiting)
        self.settings = rule
        self.admission.update(rule.access, rule.limits)
        self.live.policy = rule.live_connections
        self._waiting.update(rule.queue, now, heed_health=rule.all_down == "refuse")
        self._set()

    def _balancer(self, rule: Rule, now: float) -> Balancer[Any]:
        members = self.pool.members(rule.backend_ids)
        rng = stream(self._around.seed, self.name)
        return balancer_for(rule, members, rng, now, self._around.background.add)

    def _set(self) -> None:
        rule = self.settings
        timeouts, retries = rule.timeouts, rule.retries
        self.timeouts = timeouts
        half_closed_ms = timeouts.half_closed_timeout_ms
        self.limits = Limits(
            timeouts.idle_timeout_ms / 1e3,
            half_closed_ms / 1e3,
            (timeouts.backend_finished_timeout_ms or half_closed_ms) / 1e3,
        )
        self.watches_peers = bool(timeouts.keepalive_idle_s or timeouts.user_timeout_ms)
        self.connect_timeout_s = timeouts.connect_timeout_ms / 1e3
        self.max_tries = retries.max_tries
        self.total_timeout_s = retries.total_timeout_ms / 1e3
        self.rates = Rates(rule.limits.upload_bytes_per_s, rule.limits.download_bytes_per_s)
        self.udp = rule.udp
        self.queue = self._waiting if rule.queue.max_waiting else None
        """None: nobody is to wait (`max_waiting: 0`)."""


def _algorithm(rule: Rule, members: Iterable[Backend]) -> tuple[object, ...]:
    """What makes another algorithm of it."""
    in_tiers = any(backend.backup for backend in members)
    return rule.strategy, rule.all_down, rule.passive, in_tiers


def stream(seed: int, name: str) -> random.Random:
    """The random numbers of the rule of that name: what one rule carries changes nobody else's."""
    return random.Random(f"{seed}/{name}")
