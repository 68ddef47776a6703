"""Why a client is sent where it is: asked of the algorithm itself, by the pick that it makes."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.tiers import Tiers


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member as it stood before the pick."""

    id: str
    address: str
    weight: int
    backup: bool
    active: int
    """Open connections."""
    max_connections: int
    """0: no limit."""
    state: str
    """`usable`, or what keeps it from being chosen."""
    score: str
    """What the algorithm compares, in words; empty: nothing."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One pick."""

    candidates: tuple[Candidate, ...]
    """All members, in the configuration's order."""
    chosen: Backend | None
    reason: str


@dataclass(frozen=True, slots=True)
class LineUp:
    """Everybody who could be chosen, as a pick would find them."""

    members: tuple[Backend, ...]
    """Primaries, then backups."""
    usable: Set[Backend]
    """Of any tier; health counts unless the last resort is the one that is asked."""
    asked: Set[Backend]
    """The usable ones of the tier that a pick would choose from: the first one that has any."""
    scores: Mapping[Backend, str]
    """What would be compared, in words."""

    def state(self, backend: Backend, now: float) -> str:
        """`usable`, or what keeps it from being chosen."""
        if backend in self.usable:
            return "usable"
        obstacle = backend.obstacle(now)
        return "usable" if obstacle is None else obstacle.value


def line_up(balancer: Balancer[Any], client: Address | None, now: float) -> LineUp:
    """Who could be chosen for `client` (None: for whoever comes) at `now` (seconds), and how they
    compare. Nothing is changed by it. O(members)."""
    tiers = balancer.tiers if isinstance(balancer, Tiers) else (balancer,)
    usable = {tier: tier.roster.usable_at(now) for tier in tiers}
    asked = next((tier for tier in tiers if usable[tier]), None)
    return LineUp(
        # Each once; a last resort holds the others' members, too.
        members=tuple(dict.fromkeys(one for tier in tiers for one in tier.roster.members)),
        usable={
            backend
            for tier in tiers
            if tier is asked or tier.roster.policy.heed_health
            for backend in usable[tier]
        },
        asked=frozenset(usable[asked] if asked else ()),
        scores=asked.scores(client, now) if asked else {},
    )


def explain(balancer: Balancer[Any], client: Address, now: float) -> Explanation:
    """Pick for `client` at `now` (seconds), and say what was compared.

    The pick is a real one: the algorithm's state goes on as if a connection had come. Who goes on
    asking opens a lease on `chosen`, as the proxy does.
    """
    for tier in balancer.tiers if isinstance(balancer, Tiers) else (balancer,):
        tier.roster.refresh(now)
    lineup = line_up(balancer, client, now)
    candidates = tuple(_candidate(backend, lineup, now) for backend in lineup.members)
    chosen = balancer.pick(client, now)
    if chosen is None:
        return Explanation(candidates, None, "no backend is usable")
    return Explanation(candidates, chosen, balancer.reason(client, chosen, now))


def _candidate(backend: Backend, lineup: LineUp, now: float) -> Candidate:
    return Candidate(
        id=backend.id,
        address=str(backend.address),
        weight=backend.weight,
        backup=backend.backup,
        active=backend.active,
        max_connections=backend.max_connections,
        state=lineup.state(backend, now),
        score=lineup.scores.get(backend, ""),
    )
