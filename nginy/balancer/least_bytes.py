"""Least bytes: the least recent traffic per weight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.ranking import Ranking, Turns
from nginy.balancer.roster import Eligible, Tried
from nginy.config.strategies import LeastBytesSettings

LARGEST_EXPONENT = 200.0
"""Amounts grow instead of decaying, by up to e to this; then all are scaled down, once in 200
time constants."""
MEAN_OVER = 32
"""The mean size of a connection is that of about so many closed ones."""
NEVER = float("-inf")


@dataclass(slots=True)
class _Traffic:
    """What one backend carried, scaled as `_scale` says."""

    share: int
    """The one that `amount` was carried with."""
    amount: float = 0.0
    expected: float = 0.0
    """Part of `amount` that was booked for open connections and has not been seen yet."""
    open: int = 0
    left_at: float = NEVER

    def reweigh(self, share: int) -> None:
        """Another share, of which it has carried as much as of the one before."""
        self.amount *= share / self.share
        self.expected *= share / self.share
        self.share = share


class LeastBytes(Balancer[LeastBytesSettings]):
    """The backend with the least bytes per weight, both directions, wins.

    Bytes are forgotten exponentially, with the time constant `decay_s`: b(t) = b exp(-dt / decay_s)
    + bytes. All decay alike, so the order changes only when bytes are added. Ties go in turn, by
    weight. Bytes are told about once a second while a connection lives, and until then everybody
    would be sent to the same backend, so a connection is booked with the mean size of those closed
    lately when it is opened; what comes is set off against that, and what did not come is taken
    back once the backend has no connection left, unless an attempt failed. A newcomer starts at
    the mean of the others, one that was away as if it had carried the mean meanwhile, and one of
    another weight as if it always had had it: none takes everything, or nothing, until all are
    level. Weights: bytes are divided by them (slow start heeded). An unavailable backend is left
    out. Cost: O(log n) per pick and event.
    Source: Apache's mod_lbmethod_bytraffic.c (totals since start); the decay, the booking and the
    newcomer's start are this program's.
    """

    wants_progress = True

    def prepare(self) -> None:
        """Nobody has carried anything yet."""
        self._traffic: dict[Backend, _Traffic] = {}
        self._ranking = Ranking()
        self._turns = self.roster.followed_by(Turns())
        self._scaled_at = 0.0
        self._mean_bytes = 0.0
        self._closed_count = 0
        self._usable_amount = 0.0
        self._usable_share = 0
        self._shares: dict[Backend, int] = {}
        self._level_before: float | None = None

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """What backends that stay carried is kept."""
        self._level_before = self._level()
        super().rebuild(backends, now)
        self._level_before = None
        for backend in self._traffic.keys() - self.roster.position.keys():
            del self._traffic[backend]

    def joined(self, backend: Backend, now: float) -> None:
        """It is ranked, as if it had carried the mean while it was away."""
        traffic = self._traffic.setdefault(backend, _Traffic(backend.share))
        level = self._level() if self._level_before is None else self._level_before
        missed = 1.0 - exp(-(now - traffic.left_at) / self.settings.decay_s)
        traffic.reweigh(backend.share)
        traffic.amount += level * backend.share * missed
        self._turns.weigh(backend, backend.share)
        self._enter(backend, traffic)

    def left(self, backend: Backend, now: float) -> None:
        """It is not ranked any more."""
        traffic = self._traffic[backend]
        traffic.left_at = now
        self._exit(backend, traffic)
        self._ranking.discard(backend)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Its bytes count for another share, past ones, too."""
        if backend in self._shares:
            traffic = self._traffic[backend]
            self._exit(backend, traffic)
            traffic.reweigh(backend.share)
            self._turns.weigh(backend, backend.share)
            self._enter(backend, traffic)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The one with the least bytes per weight."""
        backend = self._ranking.first(eligible)
        assert backend is not None
        self._turns.take(backend)
        self._rank(backend, self._traffic[backend])
        return backend

    def opened(self, backend: Backend, now: float) -> None:
        """Book what a connection carries on average."""
        traffic = self._traffic.get(backend)
        if traffic is not None:
            traffic.open += 1
            booked = self._mean_bytes * self._scale(now)
            traffic.expected += booked
            self._add(backend, traffic, booked)

    def moved(self, backend: Backend, byte_count: int, now: float) -> None:
        """Count bytes, those first that are booked already."""
        traffic = self._traffic.get(backend)
        if traffic is not None:
            amount = byte_count * self._scale(now)
            known = min(amount, traffic.expected)
            traffic.expected -= known
            self._add(backend, traffic, amount - known)

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """Learn the size; take back what was booked and did not come, once nothing is open."""
        if not outcome.failed:
            self._closed_count = min(self._closed_count + 1, MEAN_OVER)
            size = outcome.bytes_up + outcome.bytes_down
            self._mean_bytes += (size - self._mean_bytes) / self._closed_count
        traffic = self._traffic.get(backend)
        if traffic is None or traffic.open == 0:
            return
        traffic.open -= 1
        if traffic.open == 0:
            # A failed attempt stays booked: else a backend that refuses everybody attracts them.
            unseen = 0.0 if outcome.failed else traffic.expected
            traffic.expected = 0.0
            self._add(backend, traffic, -unseen)

    def _scale(self, now: float) -> float:
        """What one byte of `now` weighs against one of `_scaled_at`."""
        exponent = (now - self._scaled_at) / self.settings.decay_s
        if exponent > LARGEST_EXPONENT:
            self._rescale(exp(-min(exponent, 700.0)), now)
            exponent = 0.0
        return exp(exponent)

    def _rescale(self, factor: float, now: float) -> None:
        """Scale all amounts down to what they are at `now`. O(n), once in 200 time constants."""
        self._scaled_at = now
        self._usable_amount = 0.0
        for backend, traffic in self._traffic.items():
            traffic.amount *= factor
            traffic.expected *= factor
            if backend in self._shares:
                self._usable_amount += traffic.amount
                self._rank(backend, traffic)

    def _add(self, backend: Backend, traffic: _Traffic, amount: float) -> None:
        traffic.amount = max(0.0, traffic.amount + amount)
        if backend in self._shares:
            self._usable_amount += amount
            self._rank(backend, traffic)

    def _rank(self, backend: Backend, traffic: _Traffic) -> None:
        per_share = traffic.amount / self._shares[backend]
        self._ranking.set(backend, per_share, self._turns.of(backend))

    def _enter(self, backend: Backend, traffic: _Traffic) -> None:
        self._shares[backend] = backend.share
        self._usable_share += backend.share
        self._usable_amount += traffic.amount
        self._rank(backend, traffic)

    def _exit(self, backend: Backend, traffic: _Traffic) -> None:
        self._usable_share -= self._shares.pop(backend)
        self._usable_amount -= traffic.amount

    def _level(self) -> float:
        """Mean amount per share of the usable backends."""
        return max(0.0, self._usable_amount) / self._usable_share if self._usable_share else 0.0

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Bytes per weight, as they are now."""
        return {
            backend: f"{self._per_weight(backend, now):.4g} recent bytes per weight"
            for backend in self.roster.members
            if backend in self._shares
        }

    def _per_weight(self, backend: Backend, now: float) -> float:
        amount = self._traffic[backend].amount * exp(
            -(now - self._scaled_at) / self.settings.decay_s
        )
        return amount * 100 / self._shares[backend]

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Its bytes per weight."""
        return (
            f"it has the least recent traffic: {self._per_weight(chosen, now):.4g} bytes per weight"
        )
