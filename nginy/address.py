"""An address on the network: what clients have, backends have and listeners bind."""

from typing import NamedTuple


class Address(NamedTuple):
    """An IP address (textual, no brackets) and a port; of a client, `host` is what is hashed."""

    host: str
    port: int

    def __str__(self) -> str:
        """`10.0.0.1:80` or `[2001:db8::1]:80`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
