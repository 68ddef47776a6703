"""Limits per source: connections at the same time, and new ones per second. Pure: no clock.

A source is a prefix of client addresses. One that has something open is always remembered, so the
count is exact; of the others as many as `max_sources` leaves room for, and what is forgotten first
is the one longest silent: it loses the least of its bucket's state. So there are at most
max(max_sources, sources with something open), and what is open has bounds of its own.
"""

from collections import OrderedDict

from nginy.config.guard_settings import LimitSettings
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.numeric_address import NumericAddress
from nginy.traffic.rate import TokenBucket


class Source:
    """What is remembered of one."""

    __slots__ = ("bucket", "open")

    def __init__(self, bucket: TokenBucket | None) -> None:
        """Nothing is open yet."""
        self.open = 0
        self.bucket = bucket


class Sources:
    """The sources of one rule."""

    def __init__(self, limits: LimitSettings) -> None:
        """Nobody is known yet."""
        self._limits = limits
        self._host_bits = {32: 32 - limits.source_prefix_v4, 128: 128 - limits.source_prefix_v6}
        self._busy: dict[NumericAddress, Source] = {}
        self._silent: OrderedDict[NumericAddress, Source] = OrderedDict()
        """Nothing open; the one longest silent first."""

    def __len__(self) -> int:
        """Sources remembered."""
        return len(self._busy) + len(self._silent)

    def enter(self, client: NumericAddress, now: float) -> CloseReason | None:
        """Count one more of `client`; or why it may not be, and then nothing is counted."""
        key = self._source_of(client)
        source = self._busy.get(key) or self._silent.get(key)
        if source is None:
            source = Source(self._bucket(now))
        elif 0 < self._limits.max_connections_per_source <= source.open:
            return CloseReason.SOURCE_FULL
        if source.bucket is not None and not source.bucket.take(1, now):
            return CloseReason.SOURCE_RATE
        source.open += 1
        self._silent.pop(key, None)
        self._busy[key] = source
        self._forget(now)
        return None

    def leave(self, client: NumericAddress, now: float) -> None:
        """One that had entered has ended."""
        key = self._source_of(client)
        source = self._busy[key]
        source.open -= 1
        if source.open == 0:
            del self._busy[key]
            if source.bucket is not None:  # without one, nothing is left to remember
                self._silent[key] = source
                self._forget(now)

    def _source_of(self, client: NumericAddress) -> NumericAddress:
        return NumericAddress(client.bits, client.value >> self._host_bits[client.bits])

    def _bucket(self, now: float) -> TokenBucket | None:
        limits = self._limits
        if not limits.new_per_s_per_source:
            return None
        return TokenBucket(limits.new_per_s_per_source, limits.burst_per_source, now)

    def _forget(self, now: float) -> None:
        """Those that are as good as new, and those there is no room for."""
        while self._silent:
            key, source = next(iter(self._silent.items()))
            as_new = source.bucket is None or source.bucket.full(now)
            if not as_new and len(self) <= self._limits.max_sources:
                return
            del self._silent[key]
