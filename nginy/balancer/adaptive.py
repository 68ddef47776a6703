"""Adaptive: by the load that the backends report, and by connections where that decides nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

from nginy.address import Address
from nginy.backend.backend import FULL_SHARE, Backend
from nginy.backend.load import LoadReport
from nginy.balancer.base import Balancer
from nginy.balancer.ranking import Ranking, Turns
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import AdaptiveSettings

LEAST_FACTOR, GREATEST_FACTOR = 0.1, 100.0
"""Bounds of what connection counts do to a weight (the original project's)."""
CONNECTION_BOUND = 1.25
"""An acceptable backend takes no more than this times its fair share of the open connections. A
report is old news soon: without the bound, with 20 equal servers at 80 % and a report every 50
service times, the mean response time was 173 ms in simulation; with it 12 ms, by chance 51 ms."""
ROUNDING = 1e-9
"""Who is as loaded as all others is acceptable with alpha 1, however the sums are rounded."""
SORT_S = 50e-6
"""Backends are sorted anew at most once in this much time per backend, so that many reports cost
no more than a few percent of one processor (sorting takes about 2 us per backend)."""
SORT_AT_ONCE = 100
"""So few backends are sorted without delay."""


@dataclass(frozen=True, slots=True)
class _Reported:
    load: float
    """Weighted mean of the utilisations, in percent."""
    until: float
    """Counts up to and including this time, in seconds."""


class Adaptive(Balancer[AdaptiveSettings]):
    """A backend whose reported load per weight is at most `alpha` times the mean is acceptable.

    Load is the mean of cpu, mem, net and io weighted by `coefficients`; the mean is the sum of
    loads over the sum of weights. Among the acceptable ones everybody has a turn by weight; if
    nobody is acceptable, or the one whose turn it is would exceed 1.25 times its fair share of the
    open connections, the fewest open connections per weight win, ties in turn. Every
    `interval_s`, a backend's weight is multiplied by a factor f, which starts at 1 and becomes
    f + gain (1 - LW / mean LW), kept within 0.1 to 100, where LW is the backend's share of the open
    connections over its share of the weights.
    A backend without a report younger than `report_ttl_s` counts as of mean load. Without any
    report everybody is acceptable: weighted round robin. An unavailable backend is left out of
    all sums. Weights: the configured one (slow start heeded) times f. Cost: O(log n) per pick and
    lease; O(n) once per `interval_s` (4 us per backend), because all weights change, and after
    reports at most every 50 us times n, so with 1000 backends a report may take effect 50 ms late.
    Source: an interpretation of He and Tan, WCSE 2018 (doi 10.18178/wcse.2018.06.110), of which
    the abstract was read, and of the original project's adaptive_weight.rs, which took the
    first acceptable backend, the first of all while nobody had reported, and changed weights at
    every pick.
    """

    watches_load = True

    def prepare(self) -> None:
        """Nobody has reported yet."""
        self._reports: dict[Backend, _Reported] = {}
        self._factors: dict[Backend, float] = {}
        self._weights: dict[Backend, float] = {}
        """The configured ones, less what slow start holds back, times the factors."""
        self._connections: dict[Backend, int] = {}
        """Open ones of the usable backends."""
        self._open = 0
        """Their sum."""
        self._weight_sum = 0.0
        """Of the usable backends."""
        self._by_turn = False
        """How the last pick was made."""
        self._turns = self.roster.followed_by(Turns())
        self._acceptable = Ranking()
        self._by_connections = Ranking()
        self._mean_load = 0.0
        self._threshold = inf
        """The greatest acceptable load per weight."""
        self._adjust_at = -inf
        self._sorted_at = -inf
        self._sort_at = -inf
        """When to sort anew: a report came, or one expires."""

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Reports and factors of backends that stay are kept."""
        for gone in self._factors.keys() - self.roster.position.keys():
            del self._factors[gone], self._weights[gone]
            self._reports.pop(gone, None)

    def joined(self, backend: Backend, now: float) -> None:
        """It takes part, as the last sorting says, until the next."""
        self._factors.setdefault(backend, 1.0)
        self._connections[backend] = backend.active
        self._open += backend.active
        self._weigh(backend)
        self._weight_sum += self._weights[backend]
        self._rank(backend)
        self._sort_at = now

    def left(self, backend: Backend, now: float) -> None:
        """It takes no part."""
        self._acceptable.discard(backend)
        self._by_connections.discard(backend)
        self._open -= self._connections.pop(backend)
        self._weight_sum -= self._weights[backend]
        self._sort_at = now

    def reweighed(self, backend: Backend, now: float) -> None:
        """It has another weight."""
        if backend in self._connections:
            self.left(backend, now)
            self.joined(backend, now)

    def load_changed(self, backend: Backend, now: float) -> None:
        """It has another number of connections."""
        before = self._connections.get(backend)
        if before is not None:
            self._connections[backend] = backend.active
            self._open += backend.active - before
            self._rank_connections(backend)

    def reported(self, backend: Backend, report: LoadReport, now: float) -> None:
        """Remember the report."""
        if backend in self.roster.position:
            load = self._load(report)
            self._reports[backend] = _Reported(load, now + self.settings.report_ttl_s)
            self._sort_at = min(self._sort_at, now)

    def _load(self, report: LoadReport) -> float:
        cpu, mem, net, io = self.settings.coefficients
        sum_ = cpu * report.cpu_pct + mem * report.mem_pct
        return (sum_ + net * report.net_pct + io * report.io_pct) / (cpu + mem + net + io)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The acceptable one whose turn it is, else the one with the fewest connections."""
        self._update(now)
        backend = self._acceptable.first(eligible)
        self._by_turn = backend is not None and self._has_room(backend)
        if backend is not None and self._by_turn:
            self._turns.take(backend)
            self._acceptable.set(backend, self._turns.of(backend), 0.0)
            return backend
        backend = self._by_connections.first(eligible)
        assert backend is not None
        self._turns.take(backend)
        self._rank(backend)
        return backend

    def _has_room(self, backend: Backend) -> bool:
        fair = (self._open + 1) * self._weights[backend] / self._weight_sum
        return backend.active < ceil(CONNECTION_BOUND * fair)

    def _update(self, now: float) -> None:
        """Adjust factors and sort, if it is time to."""
        if now >= self._adjust_at:
            if self._adjust_at > -inf:
                self._adjust()
            self._adjust_at = now + self.settings.interval_s
            self._sort(now)
        elif now >= self._sort_at:
            count = len(self._by_connections)
            if count <= SORT_AT_ONCE or now - self._sorted_at >= SORT_S * count:
                self._sort(now)

    def _adjust(self) -> None:
        """Let the factors follow the connections: up where there are few per weight."""
        members = self.roster.in_order()
        # Sums of connections and of weights are common to all, so they cancel out.
        per_weight = {backend: backend.active / self._weights[backend] for backend in members}
        mean = sum(per_weight.values()) / len(members) if members else 0.0
        if mean == 0.0:
            return
        for backend in members:
            step = self.settings.gain * (1.0 - per_weight[backend] / mean)
            factor = self._factors[backend] + step
            self._factors[backend] = min(max(factor, LEAST_FACTOR), GREATEST_FACTOR)
            self._weigh(backend)

    def _weigh(self, backend: Backend) -> None:
        weight = backend.share / FULL_SHARE * self._factors[backend]
        self._weights[backend] = weight
        self._turns.weigh(backend, weight)

    def _sort(self, now: float) -> None:
        """Say anew who is acceptable."""
        members = self.roster.in_order()
        for backend in [one for one, report in self._reports.items() if report.until < now]:
            del self._reports[backend]
        fresh = [self._reports[backend] for backend in members if backend in self._reports]
        self._weight_sum = sum(self._weights[backend] for backend in members)
        self._sorted_at = now
        self._sort_at = min((report.until for report in fresh), default=inf)
        self._threshold = inf
        if fresh:
            self._mean_load = sum(report.load for report in fresh) / len(fresh)
            mean = self._mean_load * len(members) / self._weight_sum
            self._threshold = self.settings.alpha * mean * (1.0 + ROUNDING)
        self._rank_all(members)

    def _rank_all(self, members: Sequence[Backend]) -> None:
        of, weights = self._turns.of, self._weights
        weighed = [(backend, weights[backend], of(backend)) for backend in members]
        self._by_connections.set_all(
            (backend, backend.active / weight, turn) for backend, weight, turn in weighed
        )
        self._acceptable.set_all(
            (backend, turn, 0.0)
            for backend, weight, turn in weighed
            if self._seen_load(backend) <= self._threshold * weight
        )

    def _seen_load(self, backend: Backend) -> float:
        report = self._reports.get(backend)
        return self._mean_load if report is None else report.load

    def _rank(self, backend: Backend) -> None:
        self._rank_connections(backend)
        if self._seen_load(backend) <= self._threshold * self._weights[backend]:
            self._acceptable.set(backend, self._turns.of(backend), 0.0)
        else:
            self._acceptable.discard(backend)

    def _rank_connections(self, backend: Backend) -> None:
        per_weight = backend.active / self._weights[backend]
        self._by_connections.set(backend, per_weight, self._turns.of(backend))

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Load and connections per weight."""
        if client is not None:  # the pick that follows does the same; else nothing may change
            self._update(now)
        return {backend: self._score(backend) for backend in self.roster.in_order()}

    def _score(self, backend: Backend) -> str:
        weight = self._weights[backend]
        connections = f"{backend.active / weight:.4g} connections per weight (weight {weight:.4g})"
        if self._threshold == inf:
            return f"nobody has reported; {connections}"
        load = f"load {self._seen_load(backend) / weight:.4g} per weight"
        if backend not in self._reports:
            load = f"no fresh report, mean {load}"
        verdict = "acceptable" if backend in self._acceptable else "too much"
        return f"{load}: {verdict} (limit {self._threshold:.4g}); {connections}"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Which of the two branches of the rule led to `chosen`, in the last pick."""
        if not self._by_turn:
            why = "nobody is acceptable"
            if len(self._acceptable):
                why = "who was next has more than its share of the connections"
            return f"{why}, and this has the fewest connections per weight"
        if self._threshold == inf:
            return "nobody has reported a load, so everybody has a turn by weight"
        return f"{len(self._acceptable)} are acceptable, and it is its turn"
