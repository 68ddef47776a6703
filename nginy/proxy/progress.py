"""Tells a balancer that wants to know how a connection gets on while it lives."""

from nginy.backend.pool import Lease
from nginy.proxy.relay import Relay
from nginy.proxy.timers import Timer, TimerWheel

EVERY_S = 1.0


class Progress:
    """Of one lease: its first byte at once, its bytes every second and at the end."""

    __slots__ = ("_began_s", "_lease", "_reported_bytes")

    def __init__(self, lease: Lease, began_s: float) -> None:
        """The attempt began at `began_s` (monotonic seconds)."""
        self._lease = lease
        self._began_s = began_s
        self._reported_bytes = 0

    def first_byte(self, now: float) -> None:
        """The backend's first byte was passed on."""
        self._lease.first_byte(now - self._began_s, now)

    def watch(self, relay: Relay, wheel: TimerWheel, now: float) -> Timer:
        """Report now and then, until the timer is cancelled."""

        def check(now: float) -> float:
            self.report(relay, now)
            return now + EVERY_S

        return wheel.add(now + EVERY_S, check)

    def report(self, relay: Relay, now: float) -> None:
        """Report the bytes since the last call, if there are any."""
        so_far = relay.up.mover.moved + relay.down.mover.moved
        if so_far > self._reported_bytes:
            self._lease.moved(so_far - self._reported_bytes, now)
            self._reported_bytes = so_far
