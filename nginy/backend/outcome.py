"""How the use of a backend ended: what the pool counts and an algorithm may learn from."""

from typing import NamedTuple


class Outcome(NamedTuple):
    """How a lease ended; `failed` is the backend's fault: refused, timed out, reset on connect.

    Times are seconds from the start of the attempt; None: it did not come to that.
    """

    failed: bool = False
    bytes_up: int = 0
    bytes_down: int = 0
    duration_s: float = 0.0
    connect_s: float | None = None
    first_byte_s: float | None = None
