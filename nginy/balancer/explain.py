"""Why a client is sent where it is: asked of the algorithm itself, by the pick that it makes."""

from collections.abc import Mapping, Sequence
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


def explain(balancer: Balancer[Any], client: Address, now: float) -> Explanation:
    """Pick for `client` at `now` (seconds), and say what was compared.

    The pick is a real one: the algorithm's state goes on as if a connection had come. Who goes on
    asking opens a lease on `chosen`, as the proxy does.
    """
    tiers = balancer.tiers if isinstance(balancer, Tiers) else (balancer,)
    for tier in tiers:
        tier.roster.refresh(now)
    scores = balancer.scores(client, now)
    usable = {backend for tier in tiers for backend in tier.roster.usable}
    candidates = tuple(
        _candidate(backend, "usable" if backend in usable else _obstacle(backend, now), scores)
        for backend in _members(tiers)
    )
    chosen = balancer.pick(client, now)
    if chosen is None:
        return Explanation(candidates, None, "no backend is usable")
    return Explanation(candidates, chosen, balancer.reason(client, chosen, now))


def _members(tiers: Sequence[Balancer[Any]]) -> list[Backend]:
    """Each once; a last resort holds the others' members, too."""
    return list(dict.fromkeys(backend for tier in tiers for backend in tier.roster.members))


def _obstacle(backend: Backend, now: float) -> str:
    obstacle = backend.obstacle(now)
    return obstacle.value if obstacle is not None else "not usable"


def _candidate(backend: Backend, state: str, scores: Mapping[Backend, str]) -> Candidate:
    return Candidate(
        id=backend.id,
        address=str(backend.address),
        weight=backend.weight,
        backup=backend.backup,
        active=backend.active,
        max_connections=backend.max_connections,
        state=state,
        score=scores.get(backend, ""),
    )
