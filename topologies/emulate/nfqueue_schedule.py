"""When each packet of one link direction is let go, or that it is lost. Pure: time is handed in.

The fate of the k-th packet since the last `restart_draws` depends on (seed, direction, k) alone,
so the same seed loses, and doubles, the same packets. Loss, jitter, reordering and duplication have
a stream each: changing one leaves the others (but a copy draws by itself, as in netem).
"""

import bisect
import hashlib
import itertools
import random
from collections import deque
from enum import Enum

from topologies.shapes.shape import LinkSpec

LATE_S = 0.001
EARLY_S = 50e-6
"""What is due this soon goes at once: one more sleep would cost more time than that."""
BATCH = 64
"""Packets let go, or taken in, before the emulator looks at the other side again: 0.2 ms' work."""
COPY = -1
"""In the place of a packet id, which the kernel gives to none."""
_BIN_S = 0.0001
_BINS = 1000


class Lateness:
    """Histogram of how long after its time a packet was let go, in bins of 0.1 ms up to 0.1 s."""

    def __init__(self) -> None:
        """Empty."""
        self._bins = [0] * (_BINS + 1)
        self.late = 0
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one packet."""
        self._bins[min(int(seconds / _BIN_S), _BINS)] += 1
        if seconds > LATE_S:
            self.late += 1
        if seconds > self.max_s:
            self.max_s = seconds

    def quantile_s(self, share: float) -> float:
        """The upper edge of the bin that holds the quantile; 0 while nothing was counted."""
        wanted = share * sum(self._bins)
        reached = list(itertools.accumulate(self._bins))
        index = bisect.bisect_left(reached, wanted)
        return self.max_s if index == _BINS else index * _BIN_S + (_BIN_S if wanted else 0)

    def to_json(self) -> dict[str, float]:
        """Quantiles and maximum in ms, under the names of `DirectionCounters`."""
        shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
        found = {name: self.quantile_s(share) for name, share in shares.items()}
        found["max"] = self.max_s
        return {f"lateness_{name}_ms": seconds * 1e3 for name, seconds in found.items()}


class Fate(Enum):
    """Of a packet that was taken in."""

    HELD = "held"
    LOST = "lost"
    AHEAD = "ahead"
    """It goes at once, and overtakes those that are held."""


class Schedule:
    """One direction of one link, in the order of arrival: no packet overtakes another."""

    def __init__(self, spec: LinkSpec, seed: int, direction: str) -> None:
        """`direction` (`c1->s1`) picks this direction's own streams out of `seed`."""
        self.change(spec)
        self._origin = f"{seed}/{direction}"
        self.held: deque[tuple[float, int]] = deque()
        """(due in s, packet id) of every packet held, in order; `COPY` for the id of a copy."""
        self.copies: deque[bytes] = deque()
        """What the copies that are held consist of, in order."""
        self._last_due = 0.0
        self.restart_counts()
        self.restart_draws()

    def change(self, spec: LinkSpec) -> None:
        """Packets from now on; the random streams go on."""
        self._delay_s = spec.delay_ms / 1e3
        self._jitter_s = spec.jitter_ms / 1e3
        self._reorder = spec.reorder_pct / 100
        self.hold_s = 0.0 if self._reorder else max(0.0, self._delay_s - self._jitter_s)
        """Every packet that is not lost is held at least this long."""
        self._duplicate = spec.duplicate_pct / 100
        self._loss = spec.loss_pct / 100
        self._losing = False
        """The packet before was lost."""
        self._begins = self._goes_on = self._loss
        if spec.loss_burst_packets is not None:
            # Gilbert's chain: bursts end with probability 1 / length, and take up the loss asked.
            ends = 1 / spec.loss_burst_packets
            self._begins, self._goes_on = ends * self._loss / (1 - self._loss), 1 - ends

    def restart_counts(self) -> None:
        """Count from now on."""
        self.seen = 0
        self.dropped = 0
        self.bursts = 0
        self.reordered = 0
        self.duplicated = 0
        self.lateness = Lateness()

    def restart_draws(self) -> None:
        """Begin the random streams again; packets held keep the time they were given."""
        self._draw_loss = _stream(f"{self._origin}/loss").random
        self._draw_jitter = _stream(f"{self._origin}/jitter").random
        self._draw_order = _stream(f"{self._origin}/order").random
        self._draw_copy = _stream(f"{self._origin}/copy").random
        self._losing = False

    def admit(self, packet_id: int, now: float, content: bytes = b"") -> Fate:
        """Take in the packet that arrived at `now` (s); `content` is what a copy of it is."""
        self.seen += 1
        if self._duplicate and self._draw_copy() < self._duplicate:
            return self._admit_two(packet_id, now, content)
        if self._loss and self._is_lost():
            self._count_loss()
            return Fate.LOST
        return self._pass_on(packet_id, now)

    def _admit_two(self, packet_id: int, now: float, content: bytes) -> Fate:
        """Draws and counts as in netem: `LinkSpec.duplicate_pct`."""
        one_is_lost = bool(self._loss) and self._is_lost()
        fate = self._pass_on(packet_id, now)
        if one_is_lost:
            return fate
        self.seen += 1
        self.duplicated += 1
        if self._loss and self._is_lost():
            self._count_loss()
        elif self._pass_on(COPY, now) is Fate.HELD:
            self.copies.append(content)
        else:
            self.held.appendleft((now, COPY))
            self.copies.appendleft(content)
        return fate

    def _pass_on(self, packet_id: int, now: float) -> Fate:
        if self._reorder and self._draw_order() < self._reorder:
            self.reordered += 1
            return Fate.AHEAD
        due = now + self._delay_s
        if self._jitter_s:
            due += self._jitter_s * (2 * self._draw_jitter() - 1)
        if due < self._last_due:
            due = self._last_due
        self._last_due = due
        self.held.append((due, packet_id))
        return Fate.HELD

    def _is_lost(self) -> bool:
        lost = self._draw_loss() < (self._goes_on if self._losing else self._begins)
        self._begun = lost and not self._losing
        self._losing = lost
        return lost

    def _count_loss(self) -> None:
        self.dropped += 1
        self.bursts += self._begun

    def release(self, now: float) -> int | None:
        """Let go those that are due at `now` (s), at most a batch and up to the next copy: the id
        of the last, or None."""
        held = self.held
        last = None
        for _ in range(BATCH):
            if not held or held[0][0] > now + EARLY_S or held[0][1] == COPY:
                break
            due, last = held.popleft()
            self.lateness.add(now - due)
        return last

    def release_copy(self, now: float) -> bytes | None:
        """Let go the copy that is the next of all, if it is due: what it consists of."""
        if not self.held or self.held[0][1] != COPY or self.held[0][0] > now + EARLY_S:
            return None
        due, _ = self.held.popleft()
        self.lateness.add(now - due)
        return self.copies.popleft()


def arrival_s(stamp_s: float, empty_s: float, released_s: float, read_s: float) -> float:
    """When a packet came whose time is given as `stamp_s`, as far as that can be true (all in s).

    It was read at `read_s` from a queue that was last empty at `empty_s`. A stamp of before that
    and of before the release at `released_s` is an old one, of a packet that another queue held: it
    came with that release. One of between the two is right: the kernel took its time from there
    into the queue.
    """
    if stamp_s < empty_s:
        return max(stamp_s, released_s)
    return stamp_s if stamp_s < read_s else read_s


def _stream(name: str) -> random.Random:
    # Not hash(): that differs from process to process.
    return random.Random(int.from_bytes(hashlib.sha256(name.encode()).digest()))
