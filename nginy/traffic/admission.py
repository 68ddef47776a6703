"""Who is let in: access list, caps of the process and of the rule, limits per source.

Pure: no socket, no clock. TCP connections and UDP sessions are admitted by the same rules.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from nginy.address import Address, NumericAddress, host_bits, numeric_address
from nginy.config.guard_settings import AccessSettings, LimitSettings
from nginy.config.parse import Network
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.rate import TokenBucket

Verdicts = dict[int, tuple[int, bool]]
"""By prefix: the place of the first line that names it, and whether that line allows."""


class AccessList:
    """Who may connect: allow and deny by network, in order; the first line that matches decides.

    Arranged for lookup: at most one dictionary probe per prefix length in use, however long the
    list is."""

    def __init__(self, lines: Sequence[AccessSettings]) -> None:
        """Without lines, or where none matches, everybody is allowed."""
        tables: dict[int, dict[int, Verdicts]] = {32: {}, 128: {}}
        for place, (network, allowed) in enumerate(_networks(lines)):
            bits = host_bits(network)
            verdicts = tables[network.max_prefixlen].setdefault(bits, {})
            verdicts.setdefault(int(network.network_address) >> bits, (place, allowed))
        self._tables = {width: _by_first_line(table) for width, table in tables.items()}

    def allows(self, client: NumericAddress) -> bool:
        """Whether `client` may connect."""
        best: tuple[int, bool] | None = None
        for first_place, bits, verdicts in self._tables[client.bits]:
            if best is not None and best[0] < first_place:
                break
            found = verdicts.get(client.value >> bits)
            if found is not None and (best is None or found < best):
                best = found
        return best is None or best[1]


def _networks(lines: Iterable[AccessSettings]) -> Iterable[tuple[Network, bool]]:
    for line in lines:
        for network in line.allow or line.deny or ():
            yield network, line.allow is not None


def _by_first_line(table: dict[int, Verdicts]) -> list[tuple[int, int, Verdicts]]:
    """Host bits and verdicts, ordered by the first line that has such a prefix."""
    return sorted(
        ((min(verdicts.values())[0], bits, verdicts) for bits, verdicts in table.items()),
        key=lambda entry: entry[0],
    )


class _Known:
    """What is remembered of a source."""

    __slots__ = ("bucket", "open")

    def __init__(self, bucket: TokenBucket | None) -> None:
        """Nothing is open yet."""
        self.open = 0
        self.bucket = bucket


class SourceLimits:
    """Limits per source of one rule: connections at the same time, and new ones per second.

    A source is a prefix of client addresses. One that has something open is always remembered, so
    the count is exact; of the others as many as `max_sources` leaves room for, and what is
    forgotten first is the one longest silent: it loses the least of its bucket's state. So there
    are at most max(max_sources, sources with something open), and what is open has bounds of its
    own.
    """

    def __init__(self, limits: LimitSettings) -> None:
        """Nobody is known yet."""
        self._limits = limits
        self._host_bits = {32: 32 - limits.source_prefix_v4, 128: 128 - limits.source_prefix_v6}
        self._busy: dict[NumericAddress, _Known] = {}
        self._silent: OrderedDict[NumericAddress, _Known] = OrderedDict()
        """Nothing open; the one longest silent first."""

    def __len__(self) -> int:
        """Sources remembered."""
        return len(self._busy) + len(self._silent)

    def enter(self, client: NumericAddress, now: float) -> CloseReason | None:
        """Count one more of `client`; or why it may not be, and then nothing is counted."""
        key = self._source_of(client)
        source = self._busy.get(key) or self._silent.get(key)
        if source is None:
            source = _Known(self._bucket(now))
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


class Census:
    """Connections and UDP sessions of the whole process."""

    def __init__(self, limit: int) -> None:
        """`limit` 0: none."""
        self.limit = limit
        self.open = 0


class Admission:
    """Who is let in by one rule. What was let in by `enter` must `leave`, once."""

    def __init__(
        self, access: Sequence[AccessSettings], limits: LimitSettings, census: Census
    ) -> None:
        """`census` is shared by all rules of the process."""
        self.open = 0
        """Connections and sessions of the rule."""
        self.epoch = 0
        """Of the counts per source; to be kept by who enters, and said by who leaves."""
        self._census = census
        self._set(access, limits)

    def update(self, access: Sequence[AccessSettings], limits: LimitSettings) -> None:
        """Go on by other settings. Counts per source begin again, if these limits are others: who
        is in already is not among them."""
        if limits != self._limits:
            self.epoch += 1
            self._set(access, limits)
        else:
            self._access = AccessList(access) if access else None

    def _set(self, access: Sequence[AccessSettings], limits: LimitSettings) -> None:
        self._limits = limits
        self._limit = limits.max_connections
        self._access = AccessList(access) if access else None
        counts_sources = limits.max_connections_per_source or limits.new_per_s_per_source
        self._sources = SourceLimits(limits) if counts_sources else None

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

    def leave(self, client: Address, now: float, epoch: int = 0) -> None:
        """What had entered for `client`, in that `epoch`, has ended."""
        self._census.open -= 1
        self.open -= 1
        if self._sources is not None and epoch == self.epoch:
            self._sources.leave(numeric_address(client.host), now)
