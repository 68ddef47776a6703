"""What nginx's methods share: standings of the members, and smooth round robin among them."""

import random
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

from nginy.backend.backend import FULL_SHARE, Backend
from nginy.backend.outcome import Outcome
from nginy.balancer.base import Balancer, SettingsT
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.smooth import SmoothGroup, Standing

MAX_MISSES = 20
"""A random or hashing pick gives up at the next miss (ngx_stream_upstream_{random,hash}_module.c)
and takes a step of smooth round robin instead."""


class StandingBalancer(Balancer[SettingsT]):
    """Keeps the standing of every member; a subclass says which group a usable one is in."""

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        super().__init__(settings, rng, policy)
        self._standings: dict[Backend, Standing] = {}

    @abstractmethod
    def enter(self, standing: Standing, now: float) -> None:
        """Put a usable member, which is in no group, into its group."""

    def leave(self, standing: Standing) -> None:
        """Take a member out of its group, if it is in one."""
        if standing.group is not None:
            standing.group.leave(standing)

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership; those who stay keep what they are owed, newcomers start at 0."""
        kept = self._standings
        super().rebuild((), now)
        self._standings = {
            backend: kept.get(backend) or Standing.of(backend, 0) for backend in backends
        }
        for position, standing in enumerate(self._standings.values()):
            standing.position = position
            standing.reweigh(standing.backend.share)
        super().rebuild(backends, now)

    def joined(self, backend: Backend, now: float) -> None:
        """Enter."""
        self.enter(self._standings[backend], now)

    def left(self, backend: Backend, now: float) -> None:
        """Leave; what is owed is kept."""
        self.leave(self._standings[backend])

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another share from the next step on."""
        standing = self._standings[backend]
        self.leave(standing)
        standing.reweigh(backend.share)
        self.reenter(standing, now)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """A failure lowers the backend's effective weight."""
        standing = self._standings.get(backend)
        if outcome.failed and standing is not None and backend.penalty.max_fails > 0:
            self.leave(standing)
            standing.punish(backend.weight, backend.penalty.max_fails)
            self.reenter(standing, now)

    def reenter(self, standing: Standing, now: float) -> None:
        """Enter if usable."""
        if standing.backend in self.roster.usable:
            self.enter(standing, now)

    def usable(self) -> list[Backend]:
        """The usable members, in order; to explain, O(n)."""
        return [backend for backend in self.roster.members if backend in self.roster.usable]

    def sparing(
        self, avoid: Collection[Backend], now: float, choose: Callable[[], Backend | None]
    ) -> Backend | None:
        """What `choose` gives while those of `avoid` take no part. O(len(avoid) log n)."""
        absent = [self._standings[backend] for backend in self.roster.usable.intersection(avoid)]
        for standing in absent:
            self.leave(standing)
        chosen = choose()
        for standing in absent:
            self.enter(standing, now)
        return chosen


class WeightedBalancer(StandingBalancer[SettingsT]):
    """All usable members in one group: smooth round robin, or the fallback to it."""

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        super().__init__(settings, rng, policy)
        self._group = SmoothGroup()

    def enter(self, standing: Standing, now: float) -> None:
        """Join the one group."""
        self._group.join(standing)

    def pick_smooth(self, now: float, avoid: Collection[Backend]) -> Backend | None:
        """A step of smooth round robin over the usable members that are not in `avoid`."""
        return self.sparing(avoid, now, self._group.step) if avoid else self._group.step()

    def step_among(self, backends: Sequence[Backend], now: float) -> Backend | None:
        """A step of smooth round robin over `backends`, usable ones. O(len(backends) log n)."""
        group = SmoothGroup()
        standings = [self._standings[backend] for backend in backends]
        for standing in standings:
            self.leave(standing)
            group.join(standing)
        chosen = group.step()
        for standing in standings:
            group.leave(standing)
            self.enter(standing, now)
        return chosen

    def owed(self) -> Mapping[Backend, int]:
        """What is owed to each usable member, in hundredths of a pick per weight."""
        return {backend: self._group.owed(self._standings[backend]) for backend in self.usable()}


def in_weights(share: int) -> str:
    """A share or what is owed, in units of weight, to read: `2`, `0.37`."""
    return f"{share / FULL_SHARE:g}"
