"""What UDP sessions have alike: tables by rule and by age, what is due by time, kept datagrams."""

import logging
import resource
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

from nginy.complaints import Complaints
from nginy.config.guard_settings import UdpSettings
from nginy.engine.poller import Poller
from nginy.engine.timers import TimerWheel
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.ledger import Ledger
from nginy.traffic.rule import RunningRule

log = logging.getLogger(__name__)
complaints = Complaints(log)

KEPT_DATAGRAMS = 16
KEPT_BYTES = 65_536
HOLD_S = 1.0
"""How long an unanswered datagram is kept at least; at most twice that."""
DESCRIPTORS_PER_SESSION = 2
"""Sessions have at most one in this many of the descriptors that the process may have: without an
address of his own anybody can begin as many as he likes, and connections and checks must go on."""


class Member(Hashable, Protocol):
    """A session, as far as it is known here."""

    def expire(self, now: float) -> None:
        """It was idle for too long."""

    def settle(self, now: float) -> bool:
        """Let go of what was kept; True: ask again later."""

    def evict(self, now: float, *, at_once: bool = False) -> None:
        """End, for another one has no room; with `at_once`, also no descriptor."""

    def end(self, reason: CloseReason) -> None:
        """End."""


SessionT = TypeVar("SessionT", bound=Hashable)


class SessionTable(Generic[SessionT]):
    """The sessions of one rule by last activity: at most `max_sessions`; each silent for `idle_s`
    seconds has expired.

    Those that never had an answer are the first to be evicted: with addresses that are not his,
    anybody can begin as many as he likes, and those that are in use must not go for them.

    Pure: times are the caller's clock and must not go back. Activity moves a session to the end, so
    those silent longest are in front: a sweep costs what has expired and not what lives, and the
    one to evict is found at once.
    """

    def __init__(self, idle_s: float, max_sessions: int) -> None:
        """Empty."""
        self.idle_s = idle_s
        self.max_sessions = max_sessions
        self.settings: UdpSettings | None = None
        """Where the bounds are from."""
        self.receive_buffer_bytes = 0
        """Of sockets towards backends; 0: as the kernel has it, which is enough for the only answer
        of a session (to ask for more is 0.4 us of the 25 that it costs)."""
        self._unanswered: OrderedDict[SessionT, float] = OrderedDict()
        self._answered: OrderedDict[SessionT, float] = OrderedDict()
        """When each was active last."""

    def __len__(self) -> int:
        """Sessions that live."""
        return len(self._unanswered) + len(self._answered)

    def __iter__(self) -> Iterator[SessionT]:
        """The sessions, the first to be evicted first. May be changed meanwhile."""
        return iter((*self._unanswered, *self._answered))

    @property
    def full(self) -> bool:
        """Whether another one would be one too many."""
        return len(self) >= self.max_sessions

    def to_evict(self, but: SessionT | None = None) -> SessionT | None:
        """The one silent longest, of those without an answer if there are any; never `but`."""
        candidates = chain(self._unanswered, self._answered)
        return next((each for each in candidates if each is not but), None)

    def add(self, session: SessionT, now: float) -> None:
        """A new one."""
        self._unanswered[session] = now

    def touch(self, session: SessionT, now: float) -> None:
        """A datagram either way; adds the session if it is not here."""
        active_at = self._answered if session in self._answered else self._unanswered
        active_at[session] = now
        active_at.move_to_end(session)

    def answered(self, session: SessionT, now: float) -> None:
        """Its first answer; without effect if it is not here."""
        if self._unanswered.pop(session, None) is not None:
            self._answered[session] = now

    def remove(self, session: SessionT) -> None:
        """It has ended; without effect if it is not here."""
        if self._unanswered.pop(session, None) is None:
            self._answered.pop(session, None)

    def take_expired(self, now: float) -> Iterator[SessionT]:
        """Remove those that have expired and give them, of each kind the one silent longest
        first."""
        for active_at in (self._unanswered, self._answered):
            while active_at:
                session, last_s = next(iter(active_at.items()))
                if last_s + self.idle_s > now:
                    break
                del active_at[session]
                yield session


class Kept:
    """The first datagrams of a session, or its last one, until it is clear that their backend takes
    them; what is beyond the bounds is not kept."""

    __slots__ = ("_bytes", "_datagrams")

    def __init__(self) -> None:
        """Nothing kept."""
        self._datagrams: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        """Datagrams kept."""
        return len(self._datagrams)

    def add(self, datagram: memoryview | bytes) -> None:
        """Keep it after the others, if there is room: the first one always has."""
        kept = self._datagrams
        size = len(datagram)
        if not kept or (len(kept) < KEPT_DATAGRAMS and self._bytes + size <= KEPT_BYTES):
            kept.append(bytes(datagram))
            self._bytes += size

    def replace(self, datagram: memoryview | bytes) -> None:
        """Keep it instead of the others."""
        self._datagrams = [bytes(datagram)]
        self._bytes = len(datagram)

    def clear(self) -> None:
        """Keep nothing."""
        if self._datagrams:
            self._datagrams = []
            self._bytes = 0

    def take(self) -> list[bytes]:
        """What was kept, in order; nothing is, from now on."""
        taken = self._datagrams
        self.clear()
        return taken


class Sessions:
    """What the sessions of all rules share; times are monotonic seconds."""

    def __init__(self, poller: Poller, wheel: TimerWheel, ledger: Ledger) -> None:
        """None yet."""
        self.poller = poller
        self.wheel = wheel
        self.ledger = ledger
        self.live = 0
        """Sessions of all rules."""
        self.most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // DESCRIPTORS_PER_SESSION
        """Of all rules together, at the same time."""
        self._tables: dict[RunningRule, SessionTable[Member]] = {}
        self._held: OrderedDict[Member, float] = OrderedDict()

    def __len__(self) -> int:
        """Sessions that live."""
        return self.live

    def of(self, rule: RunningRule) -> SessionTable[Member]:
        """The sessions of a rule, by its present settings."""
        table = self._tables.get(rule)
        if table is None:
            table = self._tables[rule] = SessionTable(0.0, 0)
        if table.settings is not rule.udp:
            table.settings = rule.udp
            table.idle_s = rule.udp.idle_timeout_ms / 1e3
            table.max_sessions = rule.udp.max_sessions
            one_answer = rule.udp.requests == 1 == rule.udp.responses
            table.receive_buffer_bytes = 0 if one_answer else rule.udp.receive_buffer_bytes
        return table

    def make_room(self, rule: RunningRule, now: float) -> bool:
        """Whether the rule may have one more session; another one may have to go for it."""
        table = self.of(rule)
        if len(table) < table.max_sessions:
            if self.live < self.most:
                return True
            complaints.say("most", now, "%d UDP sessions live: %s", self.live, self._remedy)
            table = self._crowded(table)
        victim = table.to_evict()
        if victim is None:
            return True
        if rule.udp.when_full == "shed" and table is self.of(rule):
            return False
        victim.evict(now)
        return True

    def say_whether_enough(self, rules: Iterable[RunningRule]) -> None:
        """Warn if `rules` may want more sessions than there may be."""
        wanted = sum(rule.udp.max_sessions for rule in rules if rule.protocol == "udp")
        if wanted > self.most:
            log.warning("udp.max_sessions of all rules: %d, but %s", wanted, self._remedy)

    @property
    def _remedy(self) -> str:
        return (
            f"at most {self.most} may, one in {DESCRIPTORS_PER_SESSION} of the descriptors that the"
            " process may have (raise `ulimit -n`, or LimitNOFILE= of systemd)"
        )

    def _crowded(self, table: SessionTable[Member]) -> SessionTable[Member]:
        """Whose sessions must make room in `table`: its own if it has its part of all there may be,
        else those of the rule that has the most."""
        if len(table) * len(self._tables) >= self.most:
            return table
        return max(self._tables.values(), key=len)

    def hold(self, session: Member, now: float) -> None:
        """Have it `settle` after HOLD_S; it is not held yet."""
        self._held[session] = now + HOLD_S

    def release(self, session: Member) -> None:
        """Have it settle no more; without effect if it is not held.

        A flood of short sessions would stay in memory here for HOLD_S: 41.9 us of processor time
        per new session instead of 40.0 (`experiments.bench.udp`).
        """
        self._held.pop(session, None)

    def sweep(self, now: float) -> None:
        """What is due by time; costs what is due."""
        for table in self._tables.values():
            for session in table.take_expired(now):
                try:
                    session.expire(now)
                except Exception:
                    _lost(session)
        while self._held:
            session, due_s = next(iter(self._held.items()))
            if due_s > now:
                break
            del self._held[session]
            try:
                if session.settle(now):
                    self.hold(session, now)
            except Exception:
                _lost(session)

    def end_all(self, reason: CloseReason) -> None:
        """End every session."""
        for table in self._tables.values():
            for session in table:
                session.end(reason)


def _lost(session: Member) -> None:
    """A fault of nginy ends this one session, not the others."""
    log.exception("a UDP session was lost by a fault of nginy")
    session.end(CloseReason.INTERNAL_ERROR)
