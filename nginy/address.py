"""An address on the network: what clients have, backends have and listeners bind."""

import socket
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, NamedTuple

_MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


class Address(NamedTuple):
    """An IP address (textual, no brackets) and a port; of a client, `host` is what is hashed.

    Of a backend, `host` may also be a name that is yet to be resolved, or the absolute path of a
    Unix socket (`port` is 0 then).
    """

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC for a name."""
        return _family(self.host)

    @property
    def sockaddr(self) -> "Address | str":
        """What `connect` and `bind` take."""
        return self.host if self.host.startswith("/") else self

    def __str__(self) -> str:
        """`10.0.0.1:80`, `[2001:db8::1]:80`, `name:80` or `unix:/path`."""
        if self.host.startswith("/"):
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=16_384)
def _family(host: str) -> socket.AddressFamily:
    """Of a backend's host; asked for every connection, so it is remembered."""
    if host.startswith("/"):
        return socket.AF_UNIX
    if ":" in host:
        return socket.AF_INET6
    return socket.AF_INET if host.replace(".", "").isdecimal() else socket.AF_UNSPEC


class NumericAddress(NamedTuple):
    """An IP address for comparing prefixes; `bits` is 32 (IPv4) or 128 (IPv6)."""

    bits: int
    value: int


def numeric_address(host: str) -> NumericAddress:
    """Of an address as a socket tells it; an IPv4-mapped IPv6 address is the IPv4 address, a scope
    (`%eth0`) is ignored. Raises OSError if it is no address."""
    if ":" not in host:
        return NumericAddress(32, int.from_bytes(socket.inet_pton(socket.AF_INET, host)))
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(_MAPPED_PREFIX):
        return NumericAddress(32, int.from_bytes(packed[12:]))
    return NumericAddress(128, int.from_bytes(packed))


def ipv4_or_ipv6(sockaddr: tuple[Any, ...]) -> Address:
    """What an IPv6 socket tells; an IPv4 client of a dual-stack one (`::ffff:192.0.2.1`, RFC 4291
    section 2.5.5.2) has its IPv4 address."""
    host: str = sockaddr[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return Address(host, sockaddr[1])


def host_bits(network: IPv4Network | IPv6Network) -> int:
    """How many bits of its addresses are not of the prefix."""
    return network.max_prefixlen - network.prefixlen
