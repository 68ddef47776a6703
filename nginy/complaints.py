"""Warnings that many connections may cause at once: one line per second and cause."""

import logging


class Complaints:
    """Logs the first of a kind, counts the others, and says how many at the next one."""

    def __init__(self, log: logging.Logger, interval_s: float = 1.0) -> None:
        """Log through `log` at most once per `interval_s` and kind."""
        self._log = log
        self._interval_s = interval_s
        self._next_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def say(self, kind: str, now: float, message: str, *args: object) -> None:
        """Warn of `message % args`, unless one of this `kind` was logged just before `now`."""
        if now < self._next_s.get(kind, now):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._next_s[kind] = now + self._interval_s
        suppressed = self._suppressed.pop(kind, 0)
        more = f" ({suppressed} more like this before)" if suppressed else ""
        self._log.warning(message + more, *args)
