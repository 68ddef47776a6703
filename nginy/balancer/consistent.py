"""What the hashes have in common that keep a client on its backend when others come and go."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Generic, NamedTuple, Protocol, TypeVar

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.bounded import load_bound
from nginy.balancer.renewal import Later, Renewal, Slices
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import BoundedSettings, SourceSettings

ConsistentT = TypeVar("ConsistentT", bound=BoundedSettings | SourceSettings)
HashedT = TypeVar("HashedT")
_HashedT = TypeVar("_HashedT", contravariant=True)
SHOWN = 5
"""So many passed-over backends a reason names."""


class Table(Protocol[_HashedT]):
    """Members laid out so that what is hashed of a client gives an order of them."""

    def owner(self, hashed: _HashedT, usable: Set[Backend]) -> Backend:
        """The first of `walk`: nearly always the one chosen, so this is what must be fast."""

    def walk(self, hashed: _HashedT, usable: Set[Backend]) -> Iterator[Backend]:
        """All members (or all that are up), some of them repeatedly."""


class _Made(NamedTuple, Generic[HashedT]):
    """A table, and all that may be in it."""

    table: Table[HashedT]
    known: frozenset[Backend]


class ConsistentHash(Balancer[ConsistentT], Generic[ConsistentT, HashedT]):
    """A table gives each client an order of all members; the first usable one gets it.

    The table is of all members by `place_weight`, usable or not: so nobody's keys move but those of
    the member that is away, and they come back with it. Weights and members changed at run time
    make another table from the next pick on, in steps (`Renewal`), and until it is ready picks use
    the old one, as long as somebody in it can be chosen (a member that has gone is not usable);
    slow start makes none (keys would move twice). With `load_factor` the
    first usable member is chosen that its LoadBound admits as well; if there is none, which only
    retries of one connection can bring about, the first usable one.
    """

    _table: Table[HashedT] | None

    def prepare(self) -> None:
        """The bound; the table is made at the first pick."""
        self._bound = load_bound(self.settings.load_factor, self.roster)
        self._weights: dict[Backend, int] = {}
        """Those in the table, or in the one that is being made."""
        self._table = None
        self._known: frozenset[Backend] = frozenset()
        """Those that may be in `_table`."""
        self._outdated = self._behind = True
        """Something has changed since the making of the latest table began; since that of `_table`
        did."""
        self._renewal = Renewal(self._slices, self._use)

    def work_later(self, later: Later) -> None:
        """Tables for other weights and members."""
        self._renewal.later = later

    @abstractmethod
    def slices(self, members: Sequence[Backend], now: float) -> Slices[Table[HashedT]]:
        """The making of a table of `members`, at least one."""

    @abstractmethod
    def hashed(self, client: Address) -> HashedT:
        """What the table is asked for."""

    @abstractmethod
    def place(self, client: Address) -> str:
        """Where the table has the client, in words."""

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Another table from the next pick on."""
        self._weights = {who: self._weights[who] for who in members if who in self._weights}
        self._known = self._known.intersection(members)
        self.changed()

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another place in the table, if it is more than slow start or draining."""
        if self._weights.get(backend) != backend.place_weight:
            self.changed()

    def changed(self) -> None:
        """The table is to be another one."""
        self._outdated = self._behind = True

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The first in the client's order that is eligible and within its bound."""
        table, usable, bound = self._present_table(now), self.roster.usable, self._bound
        hashed = self.hashed(client)
        owner = table.owner(hashed, usable)
        if owner in eligible and (bound is None or bound.admits(owner)):
            return owner
        chosen = self._next(table, hashed, eligible)
        if chosen is None:  # whoever is left is newer than the table
            chosen = self._next(self._table_at_once(now), hashed, eligible)
        assert chosen is not None
        return chosen

    def _next(self, table: Table[HashedT], hashed: HashedT, eligible: Eligible) -> Backend | None:
        bound = self._bound
        beyond: Backend | None = None
        for backend in table.walk(hashed, self.roster.usable):
            if backend in eligible:
                if bound is None or bound.admits(backend):
                    return backend
                beyond = beyond or backend
        return beyond

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """The client's order of the usable members."""
        order = self._order(client, now) if client is not None else ()
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

    def _present_table(self, now: float) -> Table[HashedT]:
        """The one to choose by; if it is outdated, the next is under way."""
        if self._behind and self._known.isdisjoint(self.roster.usable):
            return self._table_at_once(now)
        if self._outdated:
            self._renewal.soon(now)
        assert self._table is not None
        return self._table

    def _table_at_once(self, now: float) -> Table[HashedT]:
        self._renewal.at_once(now)
        assert self._table is not None
        return self._table

    def _slices(self, now: float) -> Slices[_Made[HashedT]]:
        members = self.roster.members
        self._weights = {backend: backend.place_weight for backend in members}
        self._outdated = False
        table = yield from self.slices(members, now)
        return _Made(table, frozenset(members))

    def _use(self, made: _Made[HashedT]) -> None:
        self._table, self._known = made
        self._behind = self._outdated

    def _order(self, client: Address, now: float) -> list[Backend]:
        """The members in the client's order, each once, up to the last usable one."""
        if not self.roster.usable:
            return []
        table = self._present_table(now)
        missing = set(self.roster.usable)
        order: dict[Backend, None] = {}
        for backend in table.walk(self.hashed(client), self.roster.usable):
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
