"""What the hashing algorithms hash of a client."""

from nginy.address import Address
from nginy.config.strategies import HashKey


def key_of(client: Address, kind: HashKey) -> bytes:
    """The key bytes of `client`: `10.0.0.1`, or `10.0.0.1:40000` (`2001:db8::1:40000` for IPv6).

    The kernel's text form of an address is nginx's (RFC 5952): these are the values of nginx's
    `$remote_addr` and `$remote_addr:$remote_port`. An IPv4-mapped IPv6 address is hashed as the
    IPv4 address it stands for, so that a client keeps its backend whether it came through an IPv4
    or a dual-stack listener; nginx would hash `::ffff:` along.
    """
    host = client.host
    if ":" in host:
        host = plain_host(host)
    return host.encode() if kind == "address" else f"{host}:{client.port}".encode()


def plain_host(host: str) -> str:
    """`host`; of an IPv4-mapped IPv6 address the IPv4 address."""
    return host.removeprefix("::ffff:") if "." in host else host
