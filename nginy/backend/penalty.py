"""Passive failure detection: when live traffic has failed too often, a backend is left alone.

nginx's rule (`max_fails`, `fail_timeout` of its `server` directive; read in
ngx_stream_upstream_round_robin.c 1.22.1): after `max_fails` failed attempts the backend is left
alone for `fail_timeout_s`; then one connection may try it, and until that one has succeeded,
which clears the count, the others stay away for another `fail_timeout_s`. nginx compares whole
seconds, so its penalty lasts up to 1 s longer. The growing back-off is Envoy's (base_ejection_time,
max_ejection_time).
"""

from dataclasses import dataclass, field

NEVER = float("-inf")


@dataclass(eq=False, slots=True)
class Penalty:
    """One backend's failures. `max_fails` 0 turns it off. Times are seconds, the caller's clock."""

    max_fails: int = 0
    fail_timeout_s: float = 10.0
    fail_timeout_max_s: float | None = None
    """Each penalty in a row is twice the one before, up to this; None: all are alike."""
    fails: int = field(default=0, init=False)
    """Failed attempts since the count was last cleared."""
    failed_at: float = field(default=NEVER, init=False)
    """When the last attempt failed (nginx's `accessed`)."""
    checked_at: float = field(default=NEVER, init=False)
    """When the penalty began, or when the trial after it began (nginx's `checked`)."""
    row: int = field(default=0, init=False)
    """Penalties since the backend last answered."""

    @property
    def timeout_s(self) -> float:
        """How long the present penalty lasts."""
        if self.fail_timeout_max_s is None or self.row < 2:
            return self.fail_timeout_s
        grown = self.fail_timeout_s * 2.0 ** min(self.row - 1, 60)
        return max(self.fail_timeout_s, min(grown, self.fail_timeout_max_s))

    @property
    def ends_at(self) -> float:
        """The penalty holds up to and including this time; -inf: there is none."""
        if 0 < self.max_fails <= self.fails:
            return self.checked_at + self.timeout_s
        return NEVER

    def holds(self, now: float) -> bool:
        """Whether it failed too often, too recently."""
        return now <= self.ends_at

    def tried(self, now: float) -> bool:
        """An attempt begins. Whether that keeps others away: it is the trial after a penalty."""
        if not self.fails:
            return False
        if now - self.checked_at > self.timeout_s:
            self.checked_at = now
        return self.fails >= self.max_fails > 0

    def succeeded(self) -> bool:
        """An attempt reached it: failures before the trial are forgiven. Whether it was away."""
        if not self.fails or self.failed_at >= self.checked_at:
            return False
        was_away = self.fails >= self.max_fails > 0
        self.fails = self.row = 0
        return was_away

    def failed(self, now: float) -> bool:
        """An attempt failed. Whether it is left alone now."""
        was_away = self.fails >= self.max_fails > 0
        self.fails += 1
        away = self.fails >= self.max_fails > 0
        if away and not was_away:
            self.row = 1
        elif away and self.checked_at > self.failed_at:  # the trial failed, not one of a burst
            self.row += 1
        self.failed_at = self.checked_at = now
        return away
