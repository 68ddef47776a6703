"""A byte mover no faster than a token bucket, whichever way the bytes are moved."""

from collections.abc import Callable

from nginy.engine.mover import UNLIMITED, Flow, Mover
from nginy.traffic.rate import TokenBucket


class PacedMover:
    """Counts what is read, so what waits for a slow sink has been paid for already."""

    __slots__ = ("_bucket", "_clock", "_mover")

    def __init__(self, mover: Mover, bucket: TokenBucket, clock: Callable[[], float]) -> None:
        """Move by `mover`; `clock` gives seconds."""
        self._mover = mover
        self._bucket = bucket
        self._clock = clock

    @property
    def moved(self) -> int:
        """See `Mover`."""
        return self._mover.moved

    @property
    def taken(self) -> int:
        """See `Mover`."""
        return self._mover.taken

    def move(self, to_end: bool, limit: int = UNLIMITED) -> Flow:
        """See `Mover`; PACED if the bucket was the reason to stop."""
        allowed = min(limit, self._bucket.available(self._clock()))
        before = self._mover.taken
        flow = self._mover.move(to_end, allowed)
        took = self._mover.taken - before
        self._bucket.spend(took)
        return Flow.PACED if flow is Flow.UNFINISHED and took >= allowed else flow

    def close(self) -> None:
        """See `Mover`."""
        self._mover.close()
