"""Which rule a client falls under: the longest matching prefix on the port it arrived at."""

from collections import defaultdict
from collections.abc import Iterable
from socket import AF_INET, AF_INET6, inet_pton

from nginy.config.model import Rule

_MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


class RouteTable:
    """All rules, arranged for lookup: one dictionary probe per prefix length in use on the port."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Index `rules`; a (network, port) pair is of one rule (the configuration checks it)."""
        prefixes: dict[tuple[int, int], dict[int, dict[int, Rule]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        for rule in rules:
            for network, port in rule.clients:
                host_bits = network.max_prefixlen - network.prefixlen
                prefix = int(network.network_address) >> host_bits
                prefixes[network.max_prefixlen, port][host_bits][prefix] = rule
        # Fewest host bits, so the longest prefix, first.
        self._tables = {
            key: sorted(table.items(), key=_host_bits) for key, table in prefixes.items()
        }

    def lookup(self, client_host: str, port: int) -> Rule | None:
        """The rule for a client at `client_host` that arrived at `port`; None: nobody's client.

        `client_host` is an address as the socket tells it; an IPv4-mapped IPv6 address counts as
        the IPv4 address, a scope (`%eth0`) is ignored. Raises OSError if it is no address.
        """
        packed = _packed(client_host)
        address = int.from_bytes(packed)
        for host_bits, rules in self._tables.get((8 * len(packed), port), ()):
            rule = rules.get(address >> host_bits)
            if rule is not None:
                return rule
        return None


def _host_bits(entry: tuple[int, dict[int, Rule]]) -> int:
    return entry[0]


def _packed(host: str) -> bytes:
    """4 or 16 bytes."""
    if ":" not in host:
        return inet_pton(AF_INET, host)
    packed = inet_pton(AF_INET6, host.partition("%")[0])
    return packed[12:] if packed.startswith(_MAPPED_PREFIX) else packed
