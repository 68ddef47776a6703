"""Peak EWMA: the better of two by decaying peak latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.draws import DrawList
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import PeakEwmaSettings

UNKNOWN_MS = 140_737_488.355327
"""Finagle's cost of a backend that is busy with its first request: 2**63 - 1 >> 16 nanoseconds."""
PENDING_MS = 1e-6
"""What each pending request adds to UNKNOWN_MS: one nanosecond."""
FAILED_MS = 1_000.0
"""A failed attempt counts as at least this (default_rtt in tower's documentation)."""


@dataclass(slots=True)
class PeakCost:
    """One backend's latency estimate; `cost_ms` 0 is Finagle's sign for unknown."""

    cost_ms: float
    at: float
    """When the estimate was last written, in seconds; a read writes it, too."""

    def decayed(self, now: float, decay_s: float) -> float:
        """The estimate at `now`, in milliseconds, without writing it."""
        return self.cost_ms * exp(-max(0.0, now - self.at) / decay_s)

    def read(self, now: float, decay_s: float) -> float:
        """The estimate at `now`; written, as Finagle does it by observing a latency of 0."""
        # A clock that stands still, or a backend that is unknown, makes no difference.
        if self.cost_ms and now > self.at:
            self.cost_ms *= exp((self.at - now) / decay_s)
        self.at = now
        return self.cost_ms

    def observe(self, latency_ms: float, now: float, decay_s: float) -> None:
        """A latency above the estimate replaces it, any other pulls it down little by little."""
        if latency_ms > self.cost_ms:
            self.cost_ms = latency_ms
        else:
            kept = exp(-max(0.0, now - self.at) / decay_s)
            self.cost_ms = self.cost_ms * kept + latency_ms * (1.0 - kept)
        self.at = now


def load_ms(cost_ms: float, pending: int) -> float:
    """What is compared: the cost times the requests it would carry; unknown and busy: nearly
    infinite, so that each unknown backend is tried by one request only until that is answered."""
    if cost_ms == 0.0 and pending:
        return UNKNOWN_MS + PENDING_MS * pending
    return cost_ms * (pending + 1)


class PeakEwma(Balancer[PeakEwmaSettings]):
    """Two different usable backends are drawn; the one with the lesser load per weight is chosen.

    Load is the latency estimate times (open connections + 1). The estimate jumps to a higher
    latency at once and forgets it with the time constant `decay_s`. Reading a load decays the
    estimate and moves its time stamp, as in Finagle: so the latency seen right after a pick hardly
    pulls the estimate, and a backend drawn more often is forgotten sooner than by completions
    alone. It was kept because recorded Finagle numbers depend on it. Without `initial_ms`, each
    unknown backend is tried by one connection at a time.
    Deviations: a failed attempt counts as 1 s at least, as a refusal in no time would attract; a
    connection that ends unanswered though its client sent something counts its whole duration.
    Weights: the load is divided by the weight (slow start heeded); an idle unknown backend has
    load 0 whatever its weight. An unavailable backend is never drawn. Cost: O(1).
    Source: Finagle's PeakEwma.scala and Balancers.p2cPeakEwma; tower's load/peak_ewma.rs.
    """

    def prepare(self) -> None:
        """No estimates yet."""
        self.wants_progress = self.settings.metric == "first_byte"
        self._decay_s = self.settings.decay_s
        self._draws = self.roster.followed_by(DrawList())
        self._costs: dict[Backend, PeakCost] = {}

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Estimates of backends that stay are kept."""
        for backend in self._costs.keys() - self.roster.position.keys():
            del self._costs[backend]

    def joined(self, backend: Backend, now: float) -> None:
        """What is known of it is kept."""
        self._costs.setdefault(backend, PeakCost(self.settings.initial_ms or 0.0, now))

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The better of two; the only one if there are no two."""
        first, second = self._draws.draw_two(self.rng, eligible)
        if second is None:
            return first
        return second if self._load(second, now) < self._load(first, now) else first

    def _load(self, backend: Backend, now: float) -> float:
        cost_ms = self._costs[backend].read(now, self._decay_s)
        return load_ms(cost_ms, backend.active) / backend.share

    def connected(self, backend: Backend, seconds: float, now: float) -> None:
        """A latency, if `metric` is connect."""
        if self.settings.metric == "connect":
            self._observe(backend, seconds * 1e3, now)

    def first_byte(self, backend: Backend, seconds: float, now: float) -> None:
        """A latency, if `metric` is first_byte."""
        if self.settings.metric == "first_byte":
            self._observe(backend, seconds * 1e3, now)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """A latency, if it failed, if it was never answered, or if `metric` is last_byte."""
        duration_ms = outcome.duration_s * 1e3
        unanswered = outcome.first_byte_s is None and outcome.bytes_up > 0
        if outcome.failed:
            self._observe(backend, max(duration_ms, FAILED_MS), now)
        elif self.settings.metric == "last_byte" or (unanswered and self.wants_progress):
            self._observe(backend, duration_ms, now)

    def _observe(self, backend: Backend, latency_ms: float, now: float) -> None:
        cost = self._costs.get(backend)
        if cost is not None:
            cost.observe(latency_ms, now, self._decay_s)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Estimate, open connections and load per weight."""
        return {backend: self._score(backend, now) for backend in self.roster.in_order()}

    def _score(self, backend: Backend, now: float) -> str:
        cost_ms = self._costs[backend].decayed(now, self._decay_s)
        if cost_ms == 0.0:
            return "latency unknown, being tried" if backend.active else "latency unknown, idle"
        per_weight = load_ms(cost_ms, backend.active) * 100 / backend.share
        return f"{cost_ms:.4g} ms x ({backend.active} open + 1) = {per_weight:.4g} ms per weight"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its load."""
        if len(self._draws) == 1:
            return "it is the only usable backend"
        return f"of two drawn by chance it has the lesser load: {self._score(chosen, now)}"
