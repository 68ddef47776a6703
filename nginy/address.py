"""An address on the network: what clients have, backends have and listeners bind."""

import socket
from functools import lru_cache
from typing import NamedTuple


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
