"""Warnings that many connections may cause at once: one line per second and cause."""

import logging

MOST_KINDS = 1_000
"""Remembered at the same time. Kinds name hosts and backends, and those may change for ever."""
OTHERS = ""
"""What is beyond counts as one kind."""


class Complaints:
    """Logs the first of a kind, counts the others, and says how many at the next one."""

    def __init__(self, log: logging.Logger, interval_s: float = 1.0) -> None:
        """Log through `log` at most once per `interval_s` and kind."""
        self._log = log
        self._interval_s = interval_s
        self._next_s: dict[str, float] = {}
        """The one due first at the beginning."""
        self._suppressed: dict[str, int] = {}

    def say(self, kind: str, now: float, message: str, *args: object) -> None:
        """Warn of `message % args`, unless one of this `kind` was logged just before `now`."""
        kind = self._remembered(kind, now)
        if now < self._next_s.get(kind, now):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._next_s.pop(kind, None)  # it goes to the end
        self._next_s[kind] = now + self._interval_s
        suppressed = self._suppressed.pop(kind, 0)
        more = f" ({suppressed} more like this before)" if suppressed else ""
        self._log.warning(message + more, *args)

    def _remembered(self, kind: str, now: float) -> str:
        """`kind`, for which there is room or made, or OTHERS.

        A kind that makes room is over; what was counted of it since is told with OTHERS.
        """
        while kind not in self._next_s and len(self._next_s) >= MOST_KINDS:
            oldest = next(iter(self._next_s))
            if now < self._next_s[oldest]:
                return OTHERS
            del self._next_s[oldest]
            if suppressed := self._suppressed.pop(oldest, 0):
                self._suppressed[OTHERS] = self._suppressed.get(OTHERS, 0) + suppressed
        return kind
