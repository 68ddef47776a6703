"""Several rules over the same backends, with backups and a last resort: each picks by its own rule.

What one rule's connections do to a backend (full, penalised, busy) the others must heed.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nginy.backend.backend import Backend, Obstacle
from nginy.backend.penalty import Penalty
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.registry import ALGORITHMS
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.tiers import Tiers
from nginy.config.strategies import STRATEGIES
from tests.unit.balancer.test_every_algorithm import World, every_variant, make, worlds
from tests.unit.balancer.test_tiers import CLIENT

MOST_BACKENDS = 6


class SharedWorld(World):
    """A plain rule and two in tiers; each event befalls one of them, and the backends of all."""

    def __init__(
        self, method: str, options: dict[str, Any], weights: list[int], backups: list[bool]
    ) -> None:
        super().__init__(method, options, weights, seed=1)
        for backend, backup in zip(self.backends, backups, strict=False):
            backend.backup = backup
        chosen = STRATEGIES[method](type=method, **options)
        self.rules: list[tuple[Balancer[Any], list[Backend]]] = [(self.balancer, self.members)]
        for try_all in (False, True):
            tiers = Tiers(chosen, random.Random(2), RosterPolicy(), try_all=try_all)
            tiers.rebuild(self.backends, 0.0)
            self.rules.append((tiers, list(self.backends)))

    def befall(self, rule: int, event: str, number: int) -> None:
        self.balancer, self.members = self.rules[rule]
        self.happen(event, number)
        self.rules[rule] = self.balancer, self.members

    def usable(self, avoid: list[Backend]) -> list[Backend]:
        """Of the first tier that has somebody, by asking everybody."""
        tiers = [self.members]
        if isinstance(self.balancer, Tiers):
            tiers = [[b for b in self.members if b.backup is backup] for backup in (False, True)]
        for tier in tiers:
            alone = len(self.members) == 1 and len(tier) == 1
            alone = alone and not (tier[0].backup and isinstance(self.balancer, Tiers))
            if found := [b for b in tier if b not in avoid and self.serves(b, alone)]:
                return found
        if self.balancer is self.rules[2][0]:
            ill = [b for b in self.members if not b.obstacle(self.now, heed_health=False)]
            return [backend for backend in ill if backend not in avoid]
        return []

    def serves(self, backend: Backend, alone: bool) -> bool:
        obstacle = backend.obstacle(self.now)
        if obstacle is Obstacle.PENALISED and alone:
            obstacle = backend.obstacle(self.now, heed_health=False)
        return obstacle is None


@every_variant
@settings(max_examples=40)
@given(
    weights=st.lists(st.integers(1, 5), min_size=1, max_size=MOST_BACKENDS),
    backups=st.lists(st.booleans(), min_size=MOST_BACKENDS, max_size=MOST_BACKENDS),
    steps=worlds,
    rules=st.randoms(use_true_random=False),
)
def test_each_rule_picks_of_its_first_tier_that_can_serve_and_leaves_no_trace(
    method: str,
    options: dict[str, Any],
    weights: list[int],
    backups: list[bool],
    steps: list[tuple[str, int]],
    rules: random.Random,
) -> None:
    world = SharedWorld(method, options, weights, backups)
    for event, number in steps:
        world.befall(rules.randrange(3), event, number)
    world.end()
    for balancer, _ in world.rules:
        balancer.rebuild([], world.now)
    for backend in world.backends:
        assert not backend.watchers
        assert not backend.load_watchers


@pytest.mark.parametrize("method", sorted(ALGORITHMS))
def test_an_only_primary_that_is_penalised_leaves_its_clients_to_the_backup(method: str) -> None:
    primary, backup = backends = [
        Backend(str(i), CLIENT, backup=bool(i), penalty=Penalty(1, 10.0)) for i in range(2)
    ]
    chosen = STRATEGIES[method](type=method)
    tiers = Tiers(chosen, random.Random(0), RosterPolicy(), try_all=False)
    tiers.rebuild(backends, 0.0)
    assert tiers.pick(CLIENT, 0.0) is primary
    primary.failed(0.0)
    assert tiers.pick(CLIENT, 1.0) is backup
    assert make(method, backends[:1]).pick(CLIENT, 1.0) is primary


def mappings(thing: object, depth: int = 2) -> Iterator[Mapping[Any, Any]]:
    """What `thing`, and what it is made of, keeps by key."""
    for part in getattr(thing, "__dict__", {}).values():
        if isinstance(part, Mapping):
            yield part
        elif depth and type(part).__module__.startswith("nginy.balancer."):
            yield from mappings(part, depth - 1)


@every_variant
def test_nothing_is_kept_of_who_is_no_member_any_more(method: str, options: dict[str, Any]) -> None:
    world = World(method, options, [1, 2, 3], seed=1)
    gone = world.backends[0]
    for number in range(60):
        world.happen("pick", number + 1)
        world.happen("report", number)
        world.happen("progress" if number % 3 else "fail", 0)
        world.balancer.probed(gone, 1, 0.1, world.now)
    world.balancer.closed(gone, Outcome(failed=True), world.now)
    world.balancer.rebuild(world.backends[1:], world.now)
    world.balancer.pick(CLIENT, world.now)
    kept = [mapping for mapping in mappings(world.balancer) if gone in mapping]
    assert not kept
