"""nginx's smooth weighted round robin, in less than linear time, and exact.

The rule (ngx_stream_upstream_round_robin.c, 1.22.1): a step adds to each usable member's `current`
its `effective` weight; the largest `current` is chosen, the first one among equals, and pays the
sum of what was added. A member that was punished for a failure has an effective weight below its
share, and wins one unit back in every step that it takes part in.

nginx walks all members. But members of one share all gain the same in each step, so their order
among themselves never changes but by being chosen: they lie on a heap, ordered by `current` less
what the steps gave to all alike, and only the tops of the heaps, one per distinct share, are
compared. Who is recovering lies on no heap and is walked: that takes no more steps than its
punishment has units.

Units: hundredths of a weight (`FULL_SHARE`), so that slow start can hold some back. A factor that
is common to all leaves the order as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace

from nginy.backend.backend import FULL_SHARE, Backend

Entry = tuple[int, int, "Standing"]
"""What the steps gave less what is owed, then the position: the least comes first."""
SLACK = 16
"""A heap may hold as many dead entries as live ones, and so many more."""


@dataclass(eq=False, slots=True)
class Standing:
    """One member: what a step adds, what it is owed, and where it lies."""

    backend: Backend
    position: int
    """In the configuration's order: the tie-break."""
    share: int
    effective: int
    """What a step adds: `share`, or less after failures."""
    current: int = 0
    """What it is owed; while it is settled on a heap, the entry says it instead."""
    group: SmoothGroup | None = None
    entry: Entry | None = None

    @classmethod
    def of(cls, backend: Backend, position: int) -> Standing:
        """Of a newcomer: nothing is owed to it."""
        return cls(backend, position, backend.share, backend.share)

    def reweigh(self, share: int) -> None:
        """Another share, while in no group; a punishment that is not yet won back stays."""
        full = self.effective == self.share
        self.share = share
        self.effective = share if full else min(self.effective, share)

    def punish(self, weight: int, max_fails: int) -> None:
        """A failed attempt, while in no group: weight // max_fails of the weight is lost."""
        self.effective = max(0, self.effective - FULL_SHARE * (weight // max_fails))

    def gain(self) -> int:
        """Take part in a step, while on no heap. What was added."""
        added = self.effective
        self.current += added
        self.effective = min(self.share, added + FULL_SHARE)
        return added


@dataclass(eq=False, slots=True)
class _ShareClass:
    """The members of one share, none of them recovering."""

    share: int
    heap: list[Entry] = field(default_factory=list)
    live: int = 0

    def top(self) -> Entry:
        """The entry of who is owed most; there must be a live one."""
        heap = self.heap
        while (top := heap[0])[2].entry is not top:
            heappop(heap)
        return top

    def sweep(self) -> None:
        """Drop dead entries once they are in the majority."""
        if len(self.heap) > 2 * self.live + SLACK:
            self.heap = [entry for entry in self.heap if entry[2].entry is entry]
            heapify(self.heap)


class SmoothGroup:
    """Members that take their steps together. Whoever leaves keeps what is owed to it."""

    __slots__ = ("_classes", "_recovering", "_steps", "_total", "size")

    def __init__(self) -> None:
        """Nobody yet."""
        self._classes: dict[int, _ShareClass] = {}
        self._recovering: dict[Standing, None] = {}
        self._steps = 0
        self._total = 0
        self.size = 0
        """Number of members."""

    @property
    def uniform(self) -> bool:
        """Whether all members have the same share."""
        if not self._recovering:
            return len(self._classes) <= 1
        return len({*self._classes, *(standing.share for standing in self._recovering)}) == 1

    @property
    def recovering(self) -> bool:
        """Whether somebody has not yet won back what a punishment took."""
        return bool(self._recovering)

    @property
    def total(self) -> int:
        """What a step hands out."""
        return self._total + sum(standing.effective for standing in self._recovering)

    def join(self, standing: Standing) -> None:
        """Take part from the next step on. O(log n)."""
        standing.group = self
        self.size += 1
        self._settle(standing)

    def leave(self, standing: Standing) -> None:
        """Take no part from now on. O(log n) amortised."""
        self._lift(standing)
        self.size -= 1
        standing.group = None

    def owed(self, standing: Standing) -> int:
        """What is owed to a member now."""
        if standing.entry is None:
            return standing.current
        return standing.share * self._steps - standing.entry[0]

    def only(self) -> Backend:
        """The one member, where there is just one; no step is taken."""
        for share_class in self._classes.values():
            return share_class.top()[2].backend
        return next(iter(self._recovering)).backend

    def step(self) -> Backend:
        """The next one; there must be a member. O(log n + distinct shares + recovering)."""
        self._steps = steps = self._steps + 1
        best: Entry | None = None
        most = 0
        for share_class in self._classes.values():
            top = share_class.top()
            owed = share_class.share * steps - top[0]
            if best is None or owed > most or (owed == most and top[1] < best[1]):
                best, most = top, owed
        if self._recovering:
            return self._step_recovering(best and best[2], most)
        assert best is not None
        standing = best[2]
        entry = (best[0] + self._total, best[1], standing)
        standing.entry = entry
        heapreplace(self._classes[standing.share].heap, entry)
        return standing.backend

    def step_alone(self, standing: Standing) -> int:
        """A step that only this member takes part in; what was added. `charge` ends it."""
        entry = standing.entry
        if entry is None:
            added = standing.gain()
            if standing.effective == standing.share:
                del self._recovering[standing]
                self._settle(standing)
            return added
        share_class = self._classes[standing.share]
        standing.entry = (entry[0] - standing.share, entry[1], standing)
        heappush(share_class.heap, standing.entry)
        share_class.sweep()
        return standing.share

    def charge(self, standing: Standing, amount: int) -> None:
        """Let a member pay."""
        self._lift(standing)
        standing.current -= amount
        self._settle(standing)

    def _step_recovering(self, chosen: Standing | None, most: int) -> Backend:
        """The end of a step that somebody who recovers takes part in."""
        total = self._total
        recovering = list(self._recovering)
        for standing in recovering:
            total += standing.gain()
            owed = standing.current
            if (
                chosen is None
                or owed > most
                or (owed == most and standing.position < chosen.position)
            ):
                chosen, most = standing, owed
        assert chosen is not None
        self.charge(chosen, total)
        for standing in recovering:
            if standing.effective == standing.share and standing.entry is None:
                del self._recovering[standing]
                self._settle(standing)
        return chosen.backend

    def _settle(self, standing: Standing) -> None:
        share = standing.share
        if standing.effective < share:
            self._recovering[standing] = None
            return
        share_class = self._classes.get(share)
        if share_class is None:
            share_class = self._classes[share] = _ShareClass(share)
        entry = (share * self._steps - standing.current, standing.position, standing)
        standing.entry = entry
        heappush(share_class.heap, entry)
        share_class.live += 1
        self._total += share

    def _lift(self, standing: Standing) -> None:
        """Off its heap, so that `current` says what is owed."""
        if standing.entry is None:
            del self._recovering[standing]
            return
        standing.current = self.owed(standing)
        standing.entry = None
        share = standing.share
        self._total -= share
        share_class = self._classes[share]
        share_class.live -= 1
        if share_class.live:
            share_class.sweep()
        else:
            del self._classes[share]
