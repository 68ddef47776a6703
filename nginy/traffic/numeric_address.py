"""An IP address as a number, for comparing prefixes."""

from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

_MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


class NumericAddress(NamedTuple):
    """`bits` is 32 (IPv4) or 128 (IPv6)."""

    bits: int
    value: int


def numeric_address(host: str) -> NumericAddress:
    """Of an address as a socket tells it; an IPv4-mapped IPv6 address is the IPv4 address, a scope
    (`%eth0`) is ignored. Raises OSError if it is no address."""
    if ":" not in host:
        return NumericAddress(32, int.from_bytes(inet_pton(AF_INET, host)))
    packed = inet_pton(AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED_PREFIX):
        return NumericAddress(32, int.from_bytes(packed[12:]))
    return NumericAddress(128, int.from_bytes(packed))


def host_bits(network: IPv4Network | IPv6Network) -> int:
    """How many bits of its addresses are not of the prefix."""
    return network.max_prefixlen - network.prefixlen
