"""Smooth weighted round robin: nginx's default method, and what its other methods fall back on."""

from collections.abc import Callable, Mapping, Sequence

from nginy.address import Address
from nginy.backend.backend import FULL_SHARE, Backend
from nginy.balancer.base import Balancer
from nginy.balancer.roster import Eligible, Follower, Roster, Tried
from nginy.balancer.smooth import SmoothGroup, Standing
from nginy.config.strategies import RoundRobinSettings

MAX_MISSES = 20
"""A random or hashing pick gives up at the next miss (ngx_stream_upstream_{random,hash}_module.c)
and takes a step of smooth round robin instead."""


class Standings(Follower):
    """The standing of every member; a usable one is in the group that `enter` puts it in."""

    def __init__(self, roster: Roster, enter: Callable[[Standing, float], None]) -> None:
        """No members yet; `enter` is given a standing that is in no group, and the time."""
        self._roster = roster
        self._enter = enter
        self.of: dict[Backend, Standing] = {}

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Those who stay keep what they are owed, newcomers start at 0."""
        kept = self.of
        self.of = {backend: kept.get(backend) or Standing.of(backend, 0) for backend in members}
        for position, standing in enumerate(self.of.values()):
            standing.position = position
            standing.reweigh(standing.backend.share)

    def joined(self, backend: Backend, now: float) -> None:
        """Enter."""
        self._enter(self.of[backend], now)

    def left(self, backend: Backend, now: float) -> None:
        """Leave; what is owed is kept."""
        _leave(self.of[backend])

    def reweighed(self, backend: Backend, now: float) -> None:
        """Another share from the next step on."""
        standing = self.of[backend]
        _leave(standing)
        standing.reweigh(backend.share)
        self._reenter(standing, now)

    def failed(self, backend: Backend, now: float) -> None:
        """A failure lowers the backend's effective weight."""
        standing = self.of.get(backend)
        if standing is not None and backend.penalty.max_fails > 0:
            _leave(standing)
            standing.punish(backend.weight, backend.penalty.max_fails)
            self._reenter(standing, now)

    def sort(self, backend: Backend, now: float) -> None:
        """Another group may be that of `backend` now, if it is usable."""
        standing = self.of[backend]
        if standing.group is not None:
            standing.group.leave(standing)
            self._enter(standing, now)

    def sparing(self, tried: Tried, now: float, choose: Callable[[], Backend]) -> Backend:
        """What `choose` gives while those of `tried` take no part. O(len(tried) log n)."""
        absent = [self.of[backend] for backend in self._roster.usable.intersection(tried)]
        for standing in absent:
            _leave(standing)
        chosen = choose()
        for standing in absent:
            self._enter(standing, now)
        return chosen

    def _reenter(self, standing: Standing, now: float) -> None:
        if standing.backend in self._roster.usable:
            self._enter(standing, now)


class SmoothRobin(Standings):
    """All usable members in one group, taking smooth round robin's steps."""

    def __init__(self, roster: Roster) -> None:
        """No members yet."""
        super().__init__(roster, self._join)
        self.group = SmoothGroup()

    def step(self, now: float, tried: Tried) -> Backend:
        """A step over the usable members not in `tried`. O(log n + distinct weights)."""
        return self.sparing(tried, now, self.group.step) if tried else self.group.step()

    def step_among(self, backends: Sequence[Backend]) -> Backend:
        """A step over `backends`, usable ones. O(len(backends) log n)."""
        group = SmoothGroup()
        standings = [self.of[backend] for backend in backends]
        for standing in standings:
            _leave(standing)
            group.join(standing)
        chosen = group.step()
        for standing in standings:
            group.leave(standing)
            self.group.join(standing)
        return chosen

    def owed(self, backend: Backend) -> int:
        """What is owed to a usable member, in hundredths of a pick per weight."""
        return self.group.owed(self.of[backend])

    def _join(self, standing: Standing, now: float) -> None:
        self.group.join(standing)


class RoundRobin(Balancer[RoundRobinSettings]):
    """Each backend exactly `weight` times per period, spread as evenly as possible.

    Every step adds each usable backend's effective weight to what it is owed; the one owed most
    is chosen and pays the total. Weights 5, 1, 1 give 0 0 1 0 2 0 0. An unavailable backend is
    left out of the step. Cost per pick: O(log n + distinct weights); nginx's walk is O(n).
    Source: ngx_stream_upstream_round_robin.c (nginx 1.22.1).
    """

    def prepare(self) -> None:
        """One group."""
        self._smooth = self.roster.followed_by(SmoothRobin(self.roster))

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The backend owed most."""
        return self._smooth.step(now, tried)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """What each will be owed at the next pick."""
        smooth = self._smooth
        return {
            backend: f"owed {in_weights(smooth.owed(backend) + smooth.of[backend].effective)}"
            for backend in self.roster.in_order()
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """What it was owed, before it paid."""
        total = self._smooth.group.total
        owed = in_weights(self._smooth.owed(chosen) + total)
        return f"it was owed most: {owed}, and pays the sum of weights, {in_weights(total)}"


def in_weights(share: int) -> str:
    """A share or what is owed, in units of weight, to read: `2`, `0.37`."""
    return f"{share / FULL_SHARE:g}"


def _leave(standing: Standing) -> None:
    """Leave the group, if it is in one."""
    if standing.group is not None:
        standing.group.leave(standing)
