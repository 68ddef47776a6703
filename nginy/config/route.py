"""Which rule a client falls under: the longest matching prefix on the port it arrived at."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

from nginy.address import host_bits, numeric_address
from nginy.config.parse import ClientMatch


class ForClients(Protocol):
    """A rule, as it is configured or at work."""

    @property
    def clients(self) -> Sequence[ClientMatch]:
        """Whom it is for, and at which ports."""


class OfProtocol(ForClients, Protocol):
    """The same, with what its clients speak."""

    @property
    def protocol(self) -> str:
        """`tcp` or `udp`."""


CLIENTS_REMEMBERED = 16_384

RuleT = TypeVar("RuleT", bound=ForClients)
SpokenT = TypeVar("SpokenT", bound=OfProtocol)


def rules_by_port(rules: Iterable[SpokenT]) -> dict[tuple[str, int], list[SpokenT]]:
    """By protocol and port, the rules that have clients there."""
    found: dict[tuple[str, int], list[SpokenT]] = defaultdict(list)
    for rule in rules:
        for port in sorted({match.port for match in rule.clients}):
            found[rule.protocol, port].append(rule)
    return found


class RouteTable(Generic[RuleT]):
    """All rules, arranged for lookup: one dictionary probe per prefix length in use on the port."""

    def __init__(self, rules: Iterable[RuleT]) -> None:
        """Index `rules`; a (network, port) pair is of one rule (the configuration checks it)."""
        prefixes: dict[tuple[int, int], dict[int, dict[int, RuleT]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for rule in rules:
            for network, port in rule.clients:
                bits = host_bits(network)
                prefix = int(network.network_address) >> bits
                prefixes[network.max_prefixlen, port][bits][prefix] = rule
        # Fewest host bits, so the longest prefix, first.
        self._tables = {
            key: sorted(table.items(), key=lambda entry: entry[0])
            for key, table in prefixes.items()
        }
        # Clients come again: parsing an address costs more than everything else here.
        self.lookup = lru_cache(CLIENTS_REMEMBERED)(self._lookup)

    def _lookup(self, client_host: str, port: int) -> RuleT | None:
        """The rule for a client at `client_host` that arrived at `port`; None: nobody's client.

        `client_host` is an address as the socket tells it (`numeric_address`). Raises OSError if it
        is no address.
        """
        bits, address = numeric_address(client_host)
        for prefix_bits, rules in self._tables.get((bits, port), ()):
            rule = rules.get(address >> prefix_bits)
            if rule is not None:
                return rule
        return None
