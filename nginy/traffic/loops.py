"""Connections that the balancer has made to itself, and the rules they have come through.

A backend may be one of our own listening addresses: one rule may lead to another. A rule that leads
back to itself would make endlessly many connections of one. `check` finds that where backends have
addresses; here it is found for names and all else, when it happens. Sent on by another host or by
address translation, a connection does not come from a socket of ours, and is not found.
"""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.complaints import Complaints

MOST_REMEMBERED = 16_384
LOOPBACK = ("127.0.0.1", "::1")
"""What connects from there has not left this host."""

complaints = Complaints(logging.getLogger(__name__))


class Way(NamedTuple):
    """How a connection has come to where it is."""

    rules: frozenset[str]
    """By name."""
    backend: Backend | None
    """Of the last of them, which is the balancer itself."""


NEW = Way(frozenset(), None)
"""From a client."""


class Loops:
    """Of one protocol."""

    def __init__(self, ports: Iterable[int] = ()) -> None:
        """Listening to `ports`; no socket is open."""
        self.ports = frozenset(ports)
        """Backends with others are not this balancer."""
        self._elsewhere: set[str] = set()
        """Hosts that are not this one."""
        self.ways: dict[Address, Way] = {}
        """By the local address of each open socket towards ourselves."""

    def possible(self, backend: Address) -> bool:
        """Whether it may be this balancer; costs a tenth of asking a socket where it is bound."""
        return backend.port in self.ports and backend.host not in self._elsewhere

    def opened(self, local: Address, backend: Backend, rule: str, way: Way) -> bool:
        """A socket, bound to `local`, for a connection that has come by `way` to `rule`, which
        sends it to `backend`. Gives whether that is this host; then `closed` is to be called."""
        if local.host not in (*LOOPBACK, backend.address.host):
            if len(self._elsewhere) >= MOST_REMEMBERED:
                self._elsewhere.clear()
            self._elsewhere.add(backend.address.host)
            return False
        self.ways[local] = Way(way.rules | {rule}, backend)
        return True

    def closed(self, local: Address) -> None:
        """The socket is given up."""
        self.ways.pop(local, None)


def complain_of_loop(rule: str, way: Way, now: float) -> None:
    """Log that `rule` is to serve again what it has sent on before."""
    backend = way.backend
    assert backend is not None, "a client's own connection is no loop"
    complaints.say(
        f"{rule} {backend.address}",
        now,
        "%s: a connection has come back through backend %s at %s, which is this balancer itself: "
        "refused; give the backend another address",
        rule,
        backend.id,
        backend.address,
    )
