"""Who may connect: allow and deny by network, in order; the first line that matches decides."""

from collections.abc import Iterable, Sequence

from nginy.config.guard_settings import AccessSettings
from nginy.config.parse import Network
from nginy.traffic.numeric_address import NumericAddress, host_bits

Verdicts = dict[int, tuple[int, bool]]
"""By prefix: the place of the first line that names it, and whether that line allows."""


class AccessList:
    """Arranged for lookup: at most one dictionary probe per prefix length in use, however long the
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
