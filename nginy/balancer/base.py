"""The Balancer contract: what an algorithm is told, and the one thing it is asked.

An algorithm does no I/O and reads neither a clock nor a global random source: `now` (seconds,
monotonic) is handed to every verb and a `random.Random` to the constructor. So the same object
runs in the TCP proxy, in the UDP proxy, in a simulator's virtual time, and in tests without network
or sleep.

    asked         pick, which asks `choose`
    of leases     opened, connected, first_byte, moved, closed
    of backends   rebuild; the roster's events (`Follower`); load_changed
    from outside  reported, probed; and probes_due asks what to probe
    to explain    scores, reason

An algorithm is one class, and its tables (a ring, a ranking, standings) are plain objects that it
has: it makes them in `prepare`, and those that follow the roster are told what changes by that.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.load import LoadReport
from nginy.backend.pool import Outcome
from nginy.balancer.renewal import Later
from nginy.balancer.roster import Eligible, Follower, Roster, RosterPolicy, Tried, Untried
from nginy.config.strategies import StrategySettings

SettingsT = TypeVar("SettingsT", bound=StrategySettings)


class Balancer(Follower, ABC, Generic[SettingsT]):
    """One rule's algorithm and its state.

    Availability (health, drain, penalty, connection limit) is never handled by `rebuild`: one
    flapping backend must not rebuild a hash ring. The roster knows who is usable.
    """

    watches_load: bool = False
    """`load_changed` is wanted: the algorithm orders backends by their open connections."""
    wants_progress: bool = False
    """`first_byte` and `moved` are wanted while connections live."""
    wants_probes: bool = False
    """`probes_due` has something to say."""

    def __init__(
        self,
        settings: SettingsT,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        self.settings = settings
        self.rng = rng
        self.roster = Roster(policy)
        self.roster.followed_by(self)
        self.prepare()

    def prepare(self) -> None:
        """Make the algorithm's own state, of nobody yet; the constructor's last step."""

    def work_later(self, later: Later) -> None:
        """From now on `later` takes work that is too long for a pick; without, picks do it."""

    # Asked.

    def pick(self, client: Address, now: float, avoid: Tried = ()) -> Backend | None:
        """The backend for this client, not one of `avoid` (those already tried); None: nobody."""
        roster = self.roster
        if now > roster.next_return:
            roster.refresh(now)
        eligible = Untried(roster.usable, avoid) if avoid else roster.usable
        return self.choose(client, now, eligible, avoid) if eligible else None

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """What `pick` gives: one of `eligible`, the usable members that are not in `tried`.

        There is at least one. Without a retry nobody is in `tried`, and `eligible` is the roster's
        `usable` itself. Not abstract only because `Tiers` has a `pick` of its own.
        """
        raise NotImplementedError

    # Membership.

    @property
    def members(self) -> Iterable[Backend]:
        """The present ones."""
        return self.roster.members

    def tell(self, follower: Follower) -> None:
        """Tell `follower`, too, whom the roster lets in and out, from now on."""
        self.roster.followed_by(follower)

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership; state of backends that stay is kept. An empty one detaches all."""
        if self.watches_load:
            for backend in self.roster.members:
                backend.load_watchers.remove(self)
            for backend in backends:
                backend.load_watchers.append(self)
        self.roster.rebuild(backends, now)

    def load_changed(self, backend: Backend, now: float) -> None:
        """`backend.active` went up or down by one, whatever rule caused it (`watches_load`)."""

    # The life of a lease. `backend` may be no member any more.

    def opened(self, backend: Backend, now: float) -> None:
        """A lease on `backend` was taken (`backend.active` already counts it)."""

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        """The connection to `backend` was established, `seconds` after it was begun."""

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        """Its first byte came, `seconds` after the attempt was begun (`wants_progress`)."""

    def moved(self, backend: Backend, byte_count: int, now: float) -> None:
        """So many more bytes were carried, both ways, by one lease (`wants_progress`)."""

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """The lease was released (`backend.active` no longer counts it)."""
        if outcome.failed:
            self.roster.failed(backend, now)

    # From outside the connections.

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        """A load report of `backend` arrived."""

    def probed(self, backend: Backend, in_flight: int, latency_s: float, now: float) -> None:
        """`backend` answered a probe: its requests in flight, its own estimate of its latency."""

    def probes_due(self, now: float) -> Sequence[Backend]:
        """Whom to probe now; asked after every pick and at every tick (`wants_probes`)."""
        return ()

    # To explain; by the same state that `pick` uses, and without changing it.

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """What `pick` would compare, for each usable member, in words; empty: no scores.

        `client` None: what holds whoever comes; nothing where each client has an order of its own.
        """
        return {}

    @abstractmethod
    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """One sentence: why the rule leads to `chosen`. Asked before `opened`."""
