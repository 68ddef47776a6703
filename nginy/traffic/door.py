"""Who is let in: access list, caps of the process and of the rule, limits per source.

Pure: no socket, no clock. TCP connections and UDP sessions go through the same door of their rule.
"""

from collections.abc import Sequence

from nginy.address import Address
from nginy.config.guard_settings import AccessSettings, LimitSettings
from nginy.traffic.access import AccessList
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.numeric_address import numeric_address
from nginy.traffic.sources import Sources


class Census:
    """Connections and UDP sessions of the whole process."""

    def __init__(self, limit: int) -> None:
        """`limit` 0: none."""
        self.limit = limit
        self.open = 0


class Door:
    """The door of one rule. What was let in by `enter` must `leave`, once."""

    def __init__(
        self, access: Sequence[AccessSettings], limits: LimitSettings, census: Census
    ) -> None:
        """`census` is shared by all doors of the process."""
        self.open = 0
        """Connections and sessions of the rule."""
        self._limit = limits.max_connections
        self._census = census
        self._access = AccessList(access) if access else None
        counts_sources = limits.max_connections_per_source or limits.new_per_s_per_source
        self._sources = Sources(limits) if counts_sources else None

    def enter(self, client: Address, now: float) -> CloseReason | None:
        """Let `client` in at `now` (seconds) and count it; else why not, and nothing is counted."""
        census, sources = self._census, self._sources
        if self._access is not None and not self._access.allows(numeric_address(client.host)):
            return CloseReason.DENIED
        if 0 < census.limit <= census.open:
            return CloseReason.TOO_MANY_CONNECTIONS
        if 0 < self._limit <= self.open:
            return CloseReason.RULE_FULL
        if sources is not None:
            refusal = sources.enter(numeric_address(client.host), now)
            if refusal is not None:
                return refusal
        census.open += 1
        self.open += 1
        return None

    def leave(self, client: Address, now: float) -> None:
        """What had entered for `client` has ended."""
        self._census.open -= 1
        self.open -= 1
        if self._sources is not None:
            self._sources.leave(numeric_address(client.host), now)
