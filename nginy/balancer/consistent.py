"""What the hashes have in common that keep a client on its backend when others come and go."""

import random
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.bounded import LoadBound
from nginy.balancer.roster import RosterPolicy
from nginy.config.strategies import BoundedSettings, SourceSettings

ConsistentT = TypeVar("ConsistentT", bound=BoundedSettings | SourceSettings)


class ConsistentBalancer(Balancer[ConsistentT]):
    """A table gives each client an order of all members; the first usable one gets it.

    A subclass builds the table over all members by `place_weight`, usable or not: so nobody's keys
    move but those of the member that is away, and they come back with it. A weight changed at run
    time rebuilds the table at the next pick, slow start does not (keys would move twice). With
    `load_factor` the first usable member is chosen that its LoadBound admits as well; if there is
    none, which only retries of one connection can bring about, the first usable one.
    """

    def __init__(
        self,
        settings: ConsistentT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        factor = settings.load_factor
        self._bound = None if factor is None else LoadBound(factor, self.roster)
        self._weights: dict[Backend, int] = {}
        self._outdated = True

    @abstractmethod
    def build(self, members: Sequence[Backend], now: float) -> None:
        """Make the table; there is at least one member."""

    @abstractmethod
    def owner(self, client: Address) -> Backend:
        """The first of `walk`: nearly always the one chosen, so this is what must be fast."""

    @abstractmethod
    def walk(self, client: Address) -> Iterator[Backend]:
        """All members (or all that are up), in the client's order, some of them repeatedly."""

    @abstractmethod
    def place(self, client: Address) -> str:
        """Where the table has the client, in words."""

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership; the table is made at the next pick."""
        super().rebuild(backends, now)
        if self._bound is not None:
            self._bound.rebuild()
        self._weights.clear()
        self._outdated = True

    def joined(self, backend: Backend, now: float) -> None:
        """Its share of the load counts again."""
        if self._bound is not None:
            self._bound.joined(backend)

    def left(self, backend: Backend, now: float) -> None:
        """Its share of the load is the others' now."""
        if self._bound is not None:
            self._bound.left(backend)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another place in the table, if it is more than slow start or draining."""
        if self._bound is not None:
            self._bound.reweighed()
        if self._weights.get(backend) != backend.place_weight:
            self._outdated = True

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The first in the client's order that is usable and within its bound."""
        usable, bound = self.roster.usable, self._bound
        if not usable or (avoid and usable.issubset(avoid)):
            return None
        if self._outdated:
            self._make_table(now)
        owner = self.owner(client)
        if owner in usable and owner not in avoid and (bound is None or bound.admits(owner)):
            return owner
        beyond: Backend | None = None
        for backend in self.walk(client):
            if backend in usable and backend not in avoid:
                if bound is None or bound.admits(backend):
                    return backend
                beyond = beyond or backend
        return beyond

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """The client's order of the usable members."""
        order = self._order(client, now)
        usable = [backend for backend in order if backend in self.roster.usable]
        return {
            backend: f"number {rank} in the client's order{self._load(backend)}"
            for rank, backend in enumerate(usable, 1)
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Where the key falls, who was passed over and why."""
        order = self._order(client, now)
        passed = order[: order.index(chosen)]
        steps = [f"{self.place(client)} {order[0].id}"]
        steps += [self._why_not(backend, now) for backend in passed[:SHOWN]]
        if len(passed) > SHOWN:
            steps.append(f"{len(passed) - SHOWN} more are passed over")
        if passed:
            steps.append(f"next is {chosen.id}{self._load(chosen)}")
        return "; ".join(steps)

    def _make_table(self, now: float) -> None:
        members = self.roster.members
        self._weights = {backend: backend.place_weight for backend in members}
        self.build(members, now)
        self._outdated = False

    def _order(self, client: Address, now: float) -> list[Backend]:
        """The members in the client's order, each once, up to the last usable one."""
        if not self.roster.usable:
            return []
        if self._outdated:
            self._make_table(now)
        missing = set(self.roster.usable)
        order: dict[Backend, None] = {}
        for backend in self.walk(client):
            order[backend] = None
            missing.discard(backend)
            if not missing:
                break
        return list(order)

    def _load(self, backend: Backend) -> str:
        if self._bound is None:
            return ""
        return f", {backend.active} of {self._bound.slots(backend)} slots taken"

    def _why_not(self, backend: Backend, now: float) -> str:
        if backend not in self.roster.usable:
            obstacle = backend.obstacle(now)
            return f"{backend.id} is {obstacle.value if obstacle else 'not usable'}"
        if self._bound is not None and not self._bound.admits(backend):
            return f"{backend.id} has {backend.active} of {self._bound.slots(backend)} slots taken"
        return f"{backend.id} was tried"


SHOWN = 5
"""So many passed-over backends a reason names."""
