"""All UDP sessions of a process: by rule, by age, and what became of those that ended."""

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

from nginy.address import Address
from nginy.backend.pool import BackendPool
from nginy.complaints import Complaints
from nginy.engine.poller import Poller
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.context import ConnectionContext
from nginy.traffic.record import Record, close_record
from nginy.traffic.service import Service
from nginy.udp.counters import UdpCounters
from nginy.udp.sessions import SessionTable

complaints = Complaints(logging.getLogger(__name__))

HOLD_S = 1.0
"""How long an unanswered datagram is kept at least; at most twice that."""
REFUSED_RECORDS_PER_S = 100
"""Of sessions that reached no backend; all are counted. Anybody can cause as many as he likes."""


class Member(Hashable, Protocol):
    """A session, as far as the registry knows it."""

    def expire(self, now: float) -> None:
        """It was idle for too long."""

    def settle(self, now: float) -> bool:
        """Let go of what was kept; True: ask again later."""

    def evict(self, now: float, *, at_once: bool = False) -> None:
        """End, for another one has no room; with `at_once`, also no descriptor."""

    def end(self, reason: CloseReason) -> None:
        """End."""


class Registry:
    """What sessions share; times are monotonic seconds."""

    def __init__(
        self,
        poller: Poller,
        pool: BackendPool,
        write_record: Callable[[Record], None] | None,
        after_pick: Callable[[Service, float], None],
    ) -> None:
        """`write_record` None: no access log; `after_pick` is told of each choice by a
        balancer that wants probes."""
        self.poller = poller
        self.pool = pool
        self.after_pick = after_pick
        self.counters = UdpCounters()
        self._write_record = write_record
        self._tables: dict[str, SessionTable[Member]] = {}
        self._held: OrderedDict[Member, float] = OrderedDict()
        self._numbers = itertools.count(1)
        self._second = 0
        self._records_left = REFUSED_RECORDS_PER_S

    @property
    def keeps_records(self) -> bool:
        """Whether there is an access log."""
        return self._write_record is not None

    def __len__(self) -> int:
        """Sessions that live."""
        return sum(map(len, self._tables.values()))

    def table(self, service: Service) -> SessionTable[Member]:
        """The sessions of a rule."""
        table = self._tables.get(service.name)
        if table is None:
            idle_s = service.udp.idle_timeout_ms / 1e3
            table = SessionTable(idle_s, service.udp.max_sessions)
            self._tables[service.name] = table
        return table

    def context(
        self, service: Service | None, listener: Address, client: Address, now: float
    ) -> ConnectionContext:
        """Of a new session."""
        context = ConnectionContext(f"u{next(self._numbers)}", listener, client, now)
        context.protocol = "udp"
        context.rule = None if service is None else service.name
        return context

    def make_room(self, service: Service, now: float) -> bool:
        """Whether the rule may have one more session; the oldest may have to go for it."""
        table = self.table(service)
        oldest = table.oldest
        if not table.full or oldest is None:
            return True
        if service.udp.when_full == "shed":
            return False
        oldest.evict(now)
        return True

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
                session.expire(now)
        while self._held:
            session, due_s = next(iter(self._held.items()))
            if due_s > now:
                break
            del self._held[session]
            if session.settle(now):
                self.hold(session, now)

    def end_all(self, reason: CloseReason) -> None:
        """End every session."""
        for table in self._tables.values():
            for session in table:
                session.end(reason)

    def refuse(self, context: ConnectionContext, reason: CloseReason) -> None:
        """Nobody serves this datagram."""
        complaints.say(
            f"{reason} {context.rule}",
            context.opened_s,
            "%s: datagram from %s at %s refused: %s",
            context.rule or "no rule",
            context.client,
            context.listener,
            reason.value,
        )
        context.closed_s = context.opened_s
        context.close_reason = reason
        context.dropped = 1
        self.ended(context)

    def ended(self, context: ConnectionContext) -> None:
        """Count and record a session."""
        self.counters.closed[context.close_reason] += 1
        if self._write_record is None:
            return
        if context.backend is not None or self._may_record(context.closed_s):
            self._write_record(close_record(context))

    def _may_record(self, now: float) -> bool:
        """Whether one more of those that reached nobody may be recorded."""
        if int(now) != self._second:
            self._second = int(now)
            self._records_left = REFUSED_RECORDS_PER_S
        self._records_left -= 1
        return self._records_left >= 0
