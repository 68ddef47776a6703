"""The UDP sessions of one rule, by last activity. Pure: no socket, no clock.

Activity moves a session to the end, so those silent longest are in front: a sweep costs what has
expired and not what lives, and the one to evict is found at once.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

SessionT = TypeVar("SessionT", bound=Hashable)


class SessionTable(Generic[SessionT]):
    """At most `max_sessions` sessions; each silent for `idle_s` seconds has expired.

    Times are the caller's clock and must not go back.
    """

    def __init__(self, idle_s: float, max_sessions: int) -> None:
        """Empty."""
        self.idle_s = idle_s
        self.max_sessions = max_sessions
        self._active_at: OrderedDict[SessionT, float] = OrderedDict()

    def __len__(self) -> int:
        """Sessions that live."""
        return len(self._active_at)

    def __iter__(self) -> Iterator[SessionT]:
        """The sessions, the one silent longest first. May be changed meanwhile."""
        return iter(tuple(self._active_at))

    @property
    def full(self) -> bool:
        """Whether another one would be one too many."""
        return len(self._active_at) >= self.max_sessions

    @property
    def oldest(self) -> SessionT | None:
        """The one silent longest."""
        return next(iter(self._active_at), None)

    def touch(self, session: SessionT, now: float) -> None:
        """A datagram either way; the first one adds the session."""
        self._active_at[session] = now
        self._active_at.move_to_end(session)

    def remove(self, session: SessionT) -> None:
        """It has ended; without effect if it is not here."""
        self._active_at.pop(session, None)

    def take_expired(self, now: float) -> Iterator[SessionT]:
        """Remove those that have expired and give them, the one silent longest first."""
        while self._active_at:
            session, active_at = next(iter(self._active_at.items()))
            if active_at + self.idle_s > now:
                return
            del self._active_at[session]
            yield session
