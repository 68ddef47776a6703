"""IP hash: ip_hash of nginx's http module."""

import socket
from collections.abc import Iterator

from nginy.address import Address
from nginy.balancer.hash_key import plain_host
from nginy.balancer.modulo_hash import ModuloHash
from nginy.config.strategies import IpHashSettings

VALUES = 6271
START = 89
FACTOR = 113


class IpHash(ModuloHash[IpHashSettings]):
    """All clients of one IPv4 /24, and each IPv6 client, always go to the same backend.

    h = 89, then h = (113 h + b) mod 6271 for each byte b of the key: the first three octets of an
    IPv4 address, all 16 of an IPv6 one; after a miss the same bytes are hashed on from h. With
    only 6271 values, sums of weights in the hundreds are visibly uneven, and beyond 6271 some
    backends get nobody. Weights, unavailable choices: `ModuloHash`.
    Cost: O(log n) per step of the walk, one step unless the choice is unavailable.
    Source: ngx_http_upstream_ip_hash_module.c (nginx 1.22.1).
    """

    def hashes(self, client: Address) -> Iterator[int]:
        """The polynomial hash, run over the key again and again."""
        key = key_bytes(client.host)
        value = START
        while True:
            for byte in key:
                value = (FACTOR * value + byte) % VALUES
            yield value

    def key_text(self, client: Address) -> str:
        """The bytes that are hashed, as an address."""
        key = key_bytes(client.host)
        return f"{key[0]}.{key[1]}.{key[2]}.0/24" if len(key) == 3 else client.host


def key_bytes(host: str) -> bytes:
    """3 bytes of an IPv4 address (an IPv4-mapped one, too), 16 of an IPv6 one."""
    host = plain_host(host)
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return socket.inet_aton(host)[:3]
