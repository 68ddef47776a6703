"""The algorithm of a rule: with backups and a last resort, one over several sets of backends.

Sources: nginx's `backup` (the backup group is asked, by the same rule, when the primary group has
nobody usable), Envoy's panic mode (`all_down: try_all`: health and penalties are not heeded when
nobody else is left).
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.registry import make_balancer
from nginy.balancer.renewal import Later
from nginy.balancer.roster import Follower, RosterPolicy, Tried
from nginy.config.model import Rule
from nginy.config.strategies import StrategySettings


def balancer_for(
    rule: Rule, members: Sequence[Backend], rng: random.Random, now: float, later: Later
) -> Balancer[Any]:
    """The balancer of `rule` with `members`; in tiers if there are backups or a last resort.

    `later` takes what is too long for a pick.
    """
    policy = RosterPolicy(max_ejected_pct=rule.passive.max_ejected_pct)
    try_all = rule.all_down == "try_all"
    balancer: Balancer[Any]
    if try_all or any(backend.backup for backend in members):
        balancer = Tiers(rule.strategy, rng, policy, try_all=try_all)
    else:
        balancer = make_balancer(rule.strategy, rng, policy)
    balancer.work_later(later)
    balancer.rebuild(members, now)
    return balancer


class Tiers(Balancer[StrategySettings]):
    """Primaries, then backups, then (`try_all`) all of them whatever their health.

    Its own roster stays empty: the tiers have theirs.
    """

    def __init__(
        self, settings: StrategySettings, rng: random.Random, policy: RosterPolicy, *, try_all: bool
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        self._primaries = make_balancer(settings, rng, policy)
        self._backups = make_balancer(settings, rng, policy)
        self._last_resort = make_balancer(settings, rng, replace(policy, heed_health=False))
        self._try_all = try_all
        self.tiers: tuple[Balancer[StrategySettings], ...] = ()
        """Those that have members, in the order in which they are asked."""
        self.wants_progress = self._primaries.wants_progress
        self.wants_probes = self._primaries.wants_probes

    def work_later(self, later: Later) -> None:
        """Tell every tier."""
        for tier in (self._primaries, self._backups, self._last_resort):
            tier.work_later(later)

    @property
    def members(self) -> Iterable[Backend]:
        """Primaries first."""
        return chain(self._primaries.members, self._backups.members)

    def tell(self, follower: Follower) -> None:
        """Of every tier."""
        for tier in (self._primaries, self._backups, self._last_resort):
            tier.tell(follower)

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Sort the backends into tiers."""
        members = {
            self._primaries: [backend for backend in backends if not backend.backup],
            self._backups: [backend for backend in backends if backend.backup],
            self._last_resort: list(backends) if self._try_all else [],
        }
        alone = not members[self._backups]
        self._primaries.roster.policy = replace(self._primaries.roster.policy, try_alone=alone)
        self._backups.roster.policy = replace(self._backups.roster.policy, try_alone=False)
        for tier, its in members.items():
            tier.rebuild(its, now)
        self.tiers = tuple(tier for tier, its in members.items() if its)

    def pick(self, client: Address, now: float, avoid: Tried = ()) -> Backend | None:
        """The first tier's choice, else the next one's."""
        for tier in self.tiers:
            backend = tier.pick(client, now, avoid)
            if backend is not None:
                return backend
        return None

    def opened(self, backend: Backend, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.opened(backend, now)

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.connected(backend, seconds, now)

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.first_byte(backend, seconds, now)

    def moved(self, backend: Backend, byte_count: int, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.moved(backend, byte_count, now)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.closed(backend, outcome, now)

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.reported(backend, report, now)

    def probed(self, backend: Backend, in_flight: int, latency_s: float, now: float) -> None:
        """Tell every tier."""
        for tier in self.tiers:
            tier.probed(backend, in_flight, latency_s, now)

    def probes_due(self, now: float) -> Sequence[Backend]:
        """Of every tier, each backend once."""
        due = [backend for tier in self.tiers for backend in tier.probes_due(now)]
        return tuple(dict.fromkeys(due))

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Of the first tier that has somebody usable."""
        tier = next((tier for tier in self.tiers if tier.roster.usable), None)
        return tier.scores(client, now) if tier else {}

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """The reason of the tier that gave `chosen`, and which tier it is."""
        tier = next(tier for tier in self.tiers if chosen in tier.roster.usable)
        said = tier.reason(client, chosen, now)
        if tier is self._backups:
            return f"no primary can be used, so a backup; {said}"
        if tier is self._last_resort:
            return f"nobody is up, so all are tried (all_down: try_all); {said}"
        return said
