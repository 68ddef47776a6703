"""Token buckets: so much per second in the long run, so much at once. Pure: no clock.

With nginx's proxy_upload_rate and proxy_download_rate (ngx_stream_proxy_module.c) a connection may
carry what it has not used since it began; here it may catch up one second at most.
"""

from typing import NamedTuple

BURST_S = 1.0
"""A bucket of a byte rate holds what comes in during this, as nginx allows in a first second."""


class TokenBucket:
    """Full at first. Times are seconds on the caller's clock, which must not go back.

    Over any time t no more than `burst + rate * t` is taken, but for the excess of a single piece
    that is larger than the bucket (`take`); what comes after pays for it.
    """

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate` tokens per second, `burst` at once; both above 0."""
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    @classmethod
    def of(cls, bytes_per_s: float, now: float) -> "TokenBucket | None":
        """A bucket for a byte rate; None: 0, which is no limit."""
        return cls(bytes_per_s, max(1.0, bytes_per_s * BURST_S), now) if bytes_per_s else None

    def take(self, tokens: float, now: float) -> bool:
        """Take `tokens` if they are there; of more than it can hold, once it is full."""
        self._refill(now)
        if self._tokens < min(tokens, self.burst):
            return False
        self._tokens -= tokens
        return True

    def available(self, now: float) -> int:
        """Whole tokens there are."""
        self._refill(now)
        return max(0, int(self._tokens))

    def spend(self, tokens: float) -> None:
        """Take what `available` has just granted."""
        self._tokens -= tokens

    def charge(self, tokens: float, now: float) -> None:
        """Take `tokens` whether they are there or not; what comes after pays for them."""
        self._refill(now)  # first, or the time before would refill what is only taken now
        self._tokens -= tokens

    def ready_at(self, tokens: float) -> float:
        """When `tokens` (at most `burst`) will be there, if nothing is taken meanwhile."""
        return self._at + max(0.0, tokens - self._tokens) / self.rate

    def full(self, now: float) -> bool:
        """Whether it is as good as new."""
        return now >= self.ready_at(self.burst)

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + self.rate * (now - self._at))
        self._at = now


class Rates(NamedTuple):
    """How fast one connection or session may be, in bytes per second; 0: no limit."""

    upload_bytes_per_s: float
    download_bytes_per_s: float


NO_LIMIT = Rates(0.0, 0.0)
