"""Average response times as nginx's least_time keeps them: whole milliseconds, halved by silence.

Source: ngx_stream_upstream_{least_time_module.c,round_robin.h} (nginx 1.31.5).
"""

from dataclasses import dataclass

NEVER = float("-inf")
SLOWEST_MS = 5000
"""Beyond, all are equally bad."""
CLASS_MS = 20
"""Times that are closer than this count as equal, so that round robin may decide."""
MOST_HALVINGS = 64


def average(old_ms: int, sample_ms: int) -> int:
    """1/20 of the sample, 19/20 of the old average, rounded; the first sample is taken whole."""
    return (19 * old_ms + sample_ms + 10) // 20 if old_ms else sample_ms


def time_class(time_ms: int) -> int:
    """The time, in ms, that one counts with: 20, 40, ..., 5020; 5000 beyond 5000 ms."""
    return SLOWEST_MS if time_ms > SLOWEST_MS else time_ms + CLASS_MS - time_ms % CLASS_MS


@dataclass(eq=False, slots=True)
class ResponseTime:
    """One backend's. Times are seconds of the caller's clock, durations milliseconds."""

    average_ms: int = 0
    """Of the metric; 0: not known."""
    tried_at: float = NEVER
    """The first attempt, or failure, since it was last left alone for a period (`checked`)."""
    waiting: int = 0
    """Attempts that the metric has no sample of yet (`inflight_reqs`)."""
    waited_ms: int = 0
    """What those had waited, in sum, at `waiting_since` (`inflight_last`)."""
    waiting_since: float = NEVER
    """When `waiting` last changed."""
    age_ms: int = 0
    """Smoothed mean age of those that wait (`inflight_time`)."""
    estimate_ms: int = 0
    """Class times connections, as it is sorted by now."""
    halved_next_at: float = float("inf")
    """When silence halves the average next; inf: never, there is nothing left of it."""

    def halvings(self, period_s: float, now: float) -> int:
        """How often silence has halved the average: once in a period."""
        if now - self.tried_at >= MOST_HALVINGS * period_s:
            return MOST_HALVINGS
        count = int((now - self.tried_at) / period_s)
        # Rounding must not put off what is due now.
        return count + (self.tried_at + (count + 1) * period_s <= now)

    def tried(self, period_s: float, now: float) -> bool:
        """An attempt begins. Whether it is the first one in a period."""
        first = self.halvings(period_s, now) > 0
        if first:
            self.tried_at = now
        return first

    def estimate(self, connections: int, period_s: float, now: float) -> int:
        """Milliseconds until it would have served its connections and one more."""
        halvings = self.halvings(period_s, now)
        time_ms = self.average_ms >> halvings
        self.halved_next_at = self.tried_at + (halvings + 1) * period_s if time_ms else float("inf")
        if self.waiting:
            time_ms = max(time_ms, self.age_ms)
        self.estimate_ms = time_class(time_ms) * (1 + connections)
        return self.estimate_ms

    def wait_begins(self, now: float) -> None:
        """One more is waiting."""
        if self.waiting:
            self.waited_ms += self._passed_ms(now) * self.waiting
        self.waiting_since = now
        self.waiting += 1

    def wait_ends(self, waited_ms: int, now: float) -> None:
        """One of those waiting has its answer, or is gone, after `waited_ms`."""
        if self.waiting > 1:
            self.waited_ms += self._passed_ms(now) * self.waiting - waited_ms
            self.waiting_since = now
        else:
            self.waited_ms = 0
        self.waiting = max(0, self.waiting - 1)

    def grow_older(self, now: float) -> None:
        """A pick looks at it: the mean age of those waiting enters `age_ms`."""
        mean_ms = self.waited_ms // self.waiting + self._passed_ms(now)
        self.age_ms = average(self.age_ms, mean_ms)

    def _passed_ms(self, now: float) -> int:
        return milliseconds(now - self.waiting_since)


def milliseconds(seconds: float) -> int:
    """A duration in whole milliseconds."""
    return round(1000 * seconds)
