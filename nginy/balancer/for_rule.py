"""The algorithm of a rule over its backends: what serves, and what `nginy explain` asks."""

import random
from collections.abc import Sequence
from typing import Any

from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.model import Rule


def balancer_for(
    rule: Rule, members: Sequence[Backend], rng: random.Random, now: float
) -> Balancer[Any]:
    """The balancer of `rule` with `members`; in tiers if there are backups or a last resort."""
    policy = RosterPolicy(max_ejected_pct=rule.passive.max_ejected_pct)
    try_all = rule.all_down == "try_all"
    balancer: Balancer[Any]
    if try_all or any(backend.backup for backend in members):
        balancer = Tiers(rule.strategy, rng, policy, try_all=try_all)
    else:
        balancer = make_balancer(rule.strategy, rng, policy)
    balancer.rebuild(members, now)
    return balancer
