"""A backend: who it is, what it may carry, what it carries now, and who is told when that changes.

Nothing here does I/O or reads a clock. Whoever learns something (a lease, a health check, an agent)
calls one of the verbs; the watchers (rosters of the algorithms, live connections) hear of it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from nginy.address import Address
from nginy.backend.health import CheckResult
from nginy.backend.penalty import Penalty
from nginy.backend.slow_start import SlowStart
from nginy.backend.wishes import Admin, Origin, Wish, Wishes

FULL_SHARE = 100
"""Units of `share` per unit of weight: slow start takes some of them away."""


class Obstacle(Enum):
    """Why a backend cannot be chosen now, the weightiest first."""

    REMOVED = "removed"
    DOWN = "down"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    PENALISED = "penalised"
    FULL = "full"


class Watcher(Protocol):
    """Who is told of a backend's changes. Watchers may be added and removed meanwhile."""

    def state_changed(self, backend: "Backend", now: float) -> None:
        """Its obstacle may be another one than before."""

    def share_changed(self, backend: "Backend", now: float) -> None:
        """Its weight or its share of it (slow start) is another."""


class LoadWatcher(Protocol):
    """Who is told of every lease, of any rule."""

    def load_changed(self, backend: "Backend", now: float) -> None:
        """`backend.active` went up or down by one."""


@dataclass(eq=False, slots=True)
class Backend:
    """One server. Compared by identity: two rules that name it share its counters."""

    id: str
    address: Address
    weight: int = 1
    """Of new connections; 0 drains. The file's at first, then what follows from `wishes`."""
    max_connections: int = 0
    """0: no limit. At first and then, the same."""
    backup: bool = False
    penalty: Penalty = field(default_factory=Penalty)
    slow_start: SlowStart = field(default_factory=SlowStart)
    admin: Admin = Admin.READY
    """At first and then, the same."""
    healthy: bool = True
    """What its health checks and its agent say together; True where there are none."""
    removed: bool = False
    """No longer configured or resolved: it keeps what is live and gets nothing new."""
    hash_name: str = ""
    """What consistent hashes call it; default: its address, which of a resolved name is the number
    (names would give all addresses of one the same points)."""
    active: int = field(default=0, init=False)
    """Leases open now; counted by the lease guard alone."""
    watchers: list[Watcher] = field(default_factory=list, init=False, repr=False)
    load_watchers: list[LoadWatcher] = field(default_factory=list, init=False, repr=False)
    place_weight: int = field(default=1, init=False)
    """Its weight in hash tables: the last one that was not 0, so that draining it moves no other
    backend's keys."""
    share: int = field(default=FULL_SHARE, init=False)
    """`weight` in hundredths, less what slow start holds back; at least 1."""
    wishes: Wishes = field(init=False, repr=False)
    """Of file, agent and operator; changed by `set_admin`, `set_weight`, `set_max_connections`."""
    obstacle_since: float | None = field(default=None, init=False)
    """When its present obstacle began, as far as events tell; None: it has none, or has had it
    from its making on."""
    last_check: CheckResult | None = field(default=None, init=False, repr=False)
    """Of its health checks; set by who checks."""
    _last_obstacle: Obstacle | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive what depends on what was configured."""
        self.hash_name = self.hash_name or str(self.address)
        self.wishes = Wishes(Wish(self.admin, self.weight, self.max_connections))
        self._weigh(self.weight)
        self._last_obstacle = self.obstacle(0.0)

    def obstacle(self, now: float, *, heed_health: bool = True) -> Obstacle | None:
        """What keeps it from being chosen at `now`; None: nothing.

        Without `heed_health`, neither its health check nor a penalty counts.
        """
        if self.removed:
            return Obstacle.REMOVED
        if self.admin is Admin.DOWN:
            return Obstacle.DOWN
        if heed_health and not self.healthy:
            return Obstacle.UNHEALTHY
        if self.admin is Admin.DRAIN or self.weight == 0:
            return Obstacle.DRAINING
        if heed_health and self.penalty.holds(now):
            return Obstacle.PENALISED
        return Obstacle.FULL if 0 < self.max_connections <= self.active else None

    def available(self, now: float) -> bool:
        """Whether it may be chosen now."""
        return self.obstacle(now) is None

    @property
    def full(self) -> bool:
        """Whether it carries all it may."""
        return 0 < self.max_connections <= self.active

    # The life of a lease: the lease guard's verbs. Every connection pays for them, so they ask
    # nothing that cannot have changed, and of `full` the bare numbers.

    def opened(self, now: float) -> None:
        """One more is carried."""
        self.active += 1
        on_trial = self.penalty.fails and self.penalty.tried(now)
        for watcher in self.load_watchers:
            watcher.load_changed(self, now)
        if on_trial or 0 < self.max_connections <= self.active:
            self._state_changed(now)

    def released(self, now: float) -> None:
        """One less is carried."""
        was_full = 0 < self.max_connections <= self.active
        self.active -= 1
        for watcher in self.load_watchers:
            watcher.load_changed(self, now)
        if was_full:
            self._state_changed(now)

    def succeeded(self, now: float) -> None:
        """An attempt reached it."""
        if self.penalty.fails and self.penalty.succeeded():
            self.warm_up(now)
            self._state_changed(now)

    def failed(self, now: float) -> None:
        """An attempt failed by its fault."""
        if self.penalty.failed(now):
            self._state_changed(now)

    # What others decide about it.

    def set_admin(self, admin: Admin, now: float, origin: Origin) -> None:
        """`origin` wants it so; READY takes back what it said before."""
        self.wishes[origin].admin = admin
        before, self.admin = self.admin, self.wishes.admin
        if self.admin is not before:
            if before is Admin.DOWN:
                self.warm_up(now)
            self._state_changed(now)

    def set_healthy(self, healthy: bool, now: float, *, recovered: bool = True) -> None:
        """The active health check's verdict; not `recovered`: the first one, at process start."""
        if healthy is not self.healthy:
            self.healthy = healthy
            if healthy and recovered:
                self.warm_up(now)
            self._state_changed(now)

    def set_weight(self, weight: int | None, now: float, origin: Origin) -> None:
        """`origin` wants this weight, 0 drains; None (not of the file): as the others want."""
        self.wishes[origin].weight = weight
        if self.wishes.weight != self.weight:
            self._weigh(self.wishes.weight)
            self.share = self._share(now)
            self._share_changed(now)
            self._state_changed(now)

    def set_max_connections(self, limit: int | None, now: float, origin: Origin) -> None:
        """`origin` wants this limit, 0: none; None (not of the file): as the others want."""
        self.wishes[origin].max_connections = limit
        if self.wishes.max_connections != self.max_connections:
            self.max_connections = self.wishes.max_connections
            self._state_changed(now)

    def remove(self, now: float) -> None:
        """It is no longer configured."""
        self.removed = True
        self._state_changed(now)

    def ramp(self, now: float) -> bool:
        """Let slow start go on; whether it still goes on. The server calls it now and then."""
        before, self.share = self.share, self._share(now)
        if self.share != before:
            self._share_changed(now)
        return self.slow_start.ramping(now)

    def warm_up(self, now: float) -> None:
        """Start slowly: it is new at run time, or was away."""
        self.slow_start.begin(now)
        self.ramp(now)

    def _weigh(self, weight: int) -> None:
        self.weight = weight
        self.place_weight = weight or self.place_weight
        self.share = max(1, FULL_SHARE * weight)

    def _share(self, now: float) -> int:
        return max(1, round(FULL_SHARE * self.weight * self.slow_start.fraction(now)))

    def _state_changed(self, now: float) -> None:
        obstacle = self.obstacle(now)
        if obstacle is Obstacle.PENALISED:  # the one before may have ended by time, unnoticed
            self.obstacle_since = self.penalty.checked_at
        elif obstacle is not self._last_obstacle:
            self.obstacle_since = None if obstacle is None else now
        self._last_obstacle = obstacle
        for watcher in tuple(self.watchers):
            watcher.state_changed(self, now)

    def _share_changed(self, now: float) -> None:
        for watcher in tuple(self.watchers):
            watcher.share_changed(self, now)
