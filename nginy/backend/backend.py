"""A backend: who it is, what it may carry, what it carries now."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Address(NamedTuple):
    """An IP address (textual, no brackets) and a port. Also a client's: `host` is what is hashed."""

    host: str
    port: int

    def __str__(self) -> str:
        """`10.0.0.1:80` or `[2001:db8::1]:80`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(eq=False, slots=True)
class Backend:
    """One server. Compared by identity: two rules that name it share its counters.

    `max_connections` 0 means no limit. `max_fails` 0 turns passive failure detection off;
    otherwise nginx's rule holds: after `max_fails` failed attempts the backend is left alone for
    `fail_timeout_s`, and one success after that clears the count
    (ngx_stream_upstream_round_robin.c; `max_fails` and `fail_timeout` of its `server` directive).
    """

    id: str
    address: Address
    weight: int = 1
    max_connections: int = 0
    max_fails: int = 0
    fail_timeout_s: float = 10.0
    down: bool = False
    active: int = field(default=0, init=False)
    """Leases open now; counted by the lease guard alone."""
