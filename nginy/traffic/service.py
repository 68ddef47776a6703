"""A rule at work: balancer and backends, door, queue, and limits in seconds."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nginy.backend.pool import BackendPool
from nginy.balancer.base import Balancer
from nginy.balancer.tiers import balancer_for
from nginy.config.guard_settings import UdpSettings
from nginy.config.model import Rule
from nginy.engine.timers import TimerWheel
from nginy.tcp.dead_peers import DeadPeers
from nginy.tcp.relay import Limits
from nginy.traffic.door import Census, Door
from nginy.traffic.live import LiveConnections
from nginy.traffic.queue import WaitingQueue
from nginy.traffic.rate import Rates


@dataclass(frozen=True, slots=True)
class Service:
    """What a connection or session needs of its rule."""

    name: str
    balancer: Balancer[Any]
    limits: Limits
    connect_timeout_s: float
    max_tries: int
    total_timeout_s: float
    door: Door
    queue: WaitingQueue | None
    """None: nobody waits (`max_waiting: 0`)."""
    live: LiveConnections
    rates: Rates
    dead_peers: DeadPeers | None
    """None: neither keepalive nor a user timeout."""
    udp: UdpSettings


def make_service(
    rule: Rule,
    pool: BackendPool,
    rng: random.Random,
    now: float,
    wheel: TimerWheel,
    census: Census,
    run_soon: Callable[[Callable[[], None]], object],
) -> Service:
    """The service of `rule` over its backends in `pool`.

    `census` counts the whole process; `run_soon` calls back after the present event
    (`Poller.run_soon`).
    """
    balancer = balancer_for(rule, pool.members(rule.backend_ids), rng, now)
    timeouts, retries = rule.timeouts, rule.retries
    queue = WaitingQueue(
        rule.queue,
        balancer,
        lambda: pool.members(rule.backend_ids),
        wheel,
        run_soon,
        heed_health=rule.all_down == "refuse",
    )
    return Service(
        name=rule.name,
        balancer=balancer,
        limits=Limits(timeouts.idle_timeout_ms / 1e3, timeouts.half_closed_timeout_ms / 1e3),
        connect_timeout_s=timeouts.connect_timeout_ms / 1e3,
        max_tries=retries.max_tries,
        total_timeout_s=retries.total_timeout_ms / 1e3,
        door=Door(rule.access, rule.limits, census),
        queue=queue if rule.queue.max_waiting else None,
        live=LiveConnections(rule.live_connections, wheel),
        dead_peers=DeadPeers.of(timeouts),
        rates=Rates(rule.limits.upload_bytes_per_s, rule.limits.download_bytes_per_s),
        udp=rule.udp,
    )
