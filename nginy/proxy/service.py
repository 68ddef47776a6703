"""A rule at work: its balancer with its backends, and its limits in seconds."""

import random
from dataclasses import dataclass
from typing import Any

from nginy.backend.pool import BackendPool
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.model import Rule
from nginy.proxy.relay import Limits


@dataclass(frozen=True, slots=True)
class Service:
    """What a connection needs of its rule."""

    name: str
    balancer: Balancer[Any]
    limits: Limits
    connect_timeout_s: float
    max_tries: int
    total_timeout_s: float


def make_service(rule: Rule, pool: BackendPool, rng: random.Random, now: float) -> Service:
    """The service of `rule` over its backends in `pool`."""
    members = pool.members(rule.backend_ids)
    policy = RosterPolicy(max_ejected_pct=rule.passive.max_ejected_pct)
    balancer: Balancer[Any]
    if rule.all_down == "try_all" or any(backend.backup for backend in members):
        try_all = rule.all_down == "try_all"
        balancer = Tiers(rule.strategy, rng, policy, try_all=try_all)
    else:
        balancer = make_balancer(rule.strategy, rng, policy)
    balancer.rebuild(members, now)
    timeouts, retries = rule.timeouts, rule.retries
    return Service(
        name=rule.name,
        balancer=balancer,
        limits=Limits(timeouts.idle_timeout_ms / 1e3, timeouts.half_closed_timeout_ms / 1e3),
        connect_timeout_s=timeouts.connect_timeout_ms / 1e3,
        max_tries=retries.max_tries,
        total_timeout_s=retries.total_timeout_ms / 1e3,
    )
