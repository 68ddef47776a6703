"""The Balancer contract: what an algorithm is told, and the one thing it is asked.

An algorithm does no I/O and reads neither a clock nor a global random source: `now` (seconds,
monotonic) is handed to every verb and a `random.Random` to the constructor. So the same object
runs in the TCP proxy, in a simulator's virtual time, and in tests without network or sleep.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.outcome import Outcome


class Balancer(ABC):
    """One rule's algorithm and its state.

    Availability (down, penalty, connection limit) is asked of the backend at pick time and never
    handled by `rebuild`: one flapping backend must not rebuild a hash ring.
    """

    def __init__(self, rng: random.Random) -> None:
        """No members until `rebuild`; `rng` is the only source of randomness."""
        self.rng = rng

    @abstractmethod
    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership or new weights; state of backends that stay is kept."""

    @abstractmethod
    def pick(self, client: Address, now: float, avoid: Collection[Backend] = ()) -> Backend | None:
        """The backend for this client, not one of `avoid` (those already tried); None: nobody."""

    def opened(self, backend: Backend, now: float) -> None:  # noqa: B027
        """A lease on `backend` was taken (`backend.active` already counts it)."""

    def connected(self, backend: Backend, seconds: float, now: float) -> None:  # noqa: B027
        """The connection to `backend` was established, `seconds` after it was begun."""

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:  # noqa: B027
        """The lease was released (`backend.active` no longer counts it)."""
