"""Clients without a session have the time that those with one leave: `Newcomers`.

To begin a session costs ten times what a datagram of a known client costs, so new sources at some
ten thousand per second, which anybody can invent, would keep all others waiting behind them in the
socket's buffer. Per turn of the event loop, sessions begin during `BEGIN_S`; whoever comes then
waits here, in the order of coming, and known clients are served meanwhile.
"""

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from nginy.complaints import Complaints
from nginy.engine.poller import Poller
from nginy.traffic.ledger import Drop, Ledger

BEGIN_S = 0.002
"""Per turn, for new sessions of all ports: some 60 of them, or 20 where others must go for them."""
MOST_WAITING = 4_096
MOST_WAITING_BYTES = 4_194_304
"""As much as a socket's buffer holds by default."""
LONGEST_WAIT_S = 1.0
"""Who had no answer for so long has asked again, or given up (resolv.conf(5) asks again after 5 s,
many programs after 1 s)."""

Serve = Callable[[memoryview, float], None]
"""Takes a datagram of a client and the time; begins a session if there is still none."""

complaints = Complaints(logging.getLogger(__name__))


class Newcomers:
    """First datagrams that wait for a session, of all ports. Times are monotonic seconds."""

    def __init__(
        self, poller: Poller, ledger: Ledger, clock: Callable[[], float] = monotonic
    ) -> None:
        """Nobody waits."""
        self._poller = poller
        self._ledger = ledger
        self._clock = clock
        self._waiting: deque[tuple[float, bytes, Serve]] = deque()
        self._bytes = 0
        self._turn_s = self._until_s = 0.0

    def __len__(self) -> int:
        """Datagrams that wait."""
        return len(self._waiting)

    def may_begin(self, turn_s: float) -> bool:
        """Whether a session may begin at once, in the turn that began at `turn_s`."""
        if self._waiting:
            return False
        now = self._clock()
        if turn_s != self._turn_s:
            self._turn_s = turn_s
            self._until_s = now + BEGIN_S
        return now < self._until_s

    def wait(self, datagram: memoryview, serve: Serve, now: float) -> None:
        """Have `serve` called with it in one of the next turns, unless too many wait."""
        size = len(datagram)
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            self._drop(now)
            return
        if not self._waiting:
            self._poller.run_soon(self._serve_some)
        self._waiting.append((now, bytes(datagram), serve))
        self._bytes += size

    def clear(self) -> None:
        """Nobody waits any more."""
        self._ledger.dropped[Drop.OVERLOAD] += len(self._waiting)
        self._waiting.clear()
        self._bytes = 0

    def _serve_some(self, now: float) -> None:
        waiting, clock = self._waiting, self._clock
        until_s = clock() + BEGIN_S
        while waiting and clock() < until_s:
            came_s, datagram, serve = waiting.popleft()
            self._bytes -= len(datagram)
            if now - came_s > LONGEST_WAIT_S:
                self._drop(now)
            else:
                serve(memoryview(datagram), now)
        if waiting:
            self._poller.run_soon(self._serve_some)

    def _drop(self, now: float) -> None:
        self._ledger.dropped[Drop.OVERLOAD] += 1
        complaints.say(
            "overload", now, "datagrams of new clients are dropped: more come than can be served"
        )
