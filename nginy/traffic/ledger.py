"""What is written down of everything that ends, whatever its rule: counts, records, complaints."""

import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from enum import Enum

from nginy.address import Address
from nginy.complaints import Complaints
from nginy.config.model import Protocol
from nginy.traffic.close_reason import REFUSALS, CloseReason
from nginy.traffic.record import ConnectionContext, Record, close_record

REFUSED_DATAGRAMS_RECORDED_PER_S = 100
"""Of UDP clients that reached no backend; all are counted. Anybody can cause as many as he likes,
without an address of his own."""


class Drop(Enum):
    """Why a datagram was not passed on."""

    RATE = "rate"
    """Above upload_bytes_per_s."""
    NOT_SENT = "not_sent"
    """The kernel would not send it: buffer full, too large for the path, filtered."""
    NO_BACKEND = "no_backend"
    """Nobody took it: every backend tried refused, or none was available."""
    REFUSED = "refused"
    """The backend of a session that stays there has refused it."""
    KERNEL = "kernel"
    """The socket's buffer was full: it came faster than it was read."""
    OVERLOAD = "overload"
    """Of a client without a session: more such clients came than could be served."""


class Ledger:
    """One per process; times are monotonic seconds."""

    def __init__(self, write_record: Callable[[Record], None] | None = None) -> None:
        """`write_record` None: no access log."""
        self._write_record = write_record
        self.numbers = itertools.count(1)
        """Of connections and sessions."""
        self._complaints = Complaints(logging.getLogger(__name__))
        self._second = 0
        self._records_left = REFUSED_DATAGRAMS_RECORDED_PER_S
        self.closed: dict[Protocol, Counter[CloseReason]] = {"tcp": Counter(), "udp": Counter()}
        """Connections, and sessions with the datagrams that were refused one."""
        self.refused: defaultdict[str | None, Counter[CloseReason]] = defaultdict(Counter)
        """Of those, by rule, the clients that were not served at all for one of REFUSALS."""
        self.dropped: Counter[Drop] = Counter()
        """Datagrams."""

    @property
    def keeps_records(self) -> bool:
        """Whether there is an access log."""
        return self._write_record is not None

    def nobodys(self, protocol: Protocol, listener: Address, client: Address, now: float) -> None:
        """No rule is for this client."""
        context = ConnectionContext(next(self.numbers), protocol, listener, client, now)
        context.closed_s = now
        context.close_reason = CloseReason.NO_RULE
        context.dropped = 1
        self._complaints.say(
            "no rule", now, "no rule for client %s at %s: it is not served", client, listener
        )
        self.ended(context)

    def ended(self, context: ConnectionContext) -> None:
        """Count and record what has ended; log what was not served at all."""
        reason = context.close_reason
        self.closed[context.protocol][reason] += 1
        if reason in REFUSALS and context.backend is None:
            self.refused[context.rule_name][reason] += 1
            self._complaints.say(
                f"{reason.value} {context.rule_name}",
                context.closed_s,
                "%s: client %s at %s refused: %s",
                context.rule_name,
                context.client,
                context.listener,
                REFUSALS[reason],
            )
        if self._write_record is not None and self._worth_a_record(context):
            self._write_record(close_record(context))

    def _worth_a_record(self, context: ConnectionContext) -> bool:
        if context.protocol == "tcp" or context.backend is not None:
            return True
        if int(context.closed_s) != self._second:
            self._second = int(context.closed_s)
            self._records_left = REFUSED_DATAGRAMS_RECORDED_PER_S
        self._records_left -= 1
        return self._records_left >= 0
