"""Tells a balancer that wants to know how a connection gets on while it lives."""

from nginy.backend.pool import Lease
from nginy.engine.timers import Timer, TimerWheel
from nginy.tcp.relay import Relay

EVERY_S = 1.0


class Progress:
    """Of one lease: its first byte at once, its bytes every second and at the end."""

    __slots__ = ("_began_s", "_lease", "_relay", "_reported_bytes", "_timer")

    def __init__(self, lease: Lease, began_s: float) -> None:
        """The attempt began at `began_s` (monotonic seconds)."""
        self._lease = lease
        self._began_s = began_s
        self._reported_bytes = 0
        self._relay: Relay | None = None
        self._timer: Timer | None = None

    def first_byte(self, now: float) -> None:
        """The backend's first byte was passed on."""
        self._lease.first_byte(now - self._began_s, now)

    def watch(self, relay: Relay, wheel: TimerWheel, now: float) -> None:
        """Report the bytes of `relay` until `finish`."""
        self._relay = relay
        self._timer = wheel.add(now + EVERY_S, self._check)

    def finish(self, now: float) -> None:
        """Report the rest."""
        if self._timer is not None:
            self._timer.cancel()
        self._report(now)

    def _check(self, now: float) -> float:
        self._report(now)
        return now + EVERY_S

    def _report(self, now: float) -> None:
        if self._relay is None:
            return
        so_far = self._relay.up.mover.moved + self._relay.down.mover.moved
        if so_far > self._reported_bytes:
            self._lease.moved(so_far - self._reported_bytes, now)
            self._reported_bytes = so_far
