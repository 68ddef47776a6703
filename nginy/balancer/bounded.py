"""Consistent hashing with bounded loads: no backend far above its fair share of connections.

Sources: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads" (arXiv
1608.01350); the rule for whole connections is HAProxy's hash-balance-factor
(chash_server_is_eligible in lb_chash.c, 2.6).
"""

from collections.abc import Sequence

from nginy.backend.backend import Backend
from nginy.balancer.roster import Follower, Roster


class LoadBound(Follower):
    """How many connections each usable member of a roster may carry, as the total stands now.

    With f percent, n connections open on the usable members, and T = ceil((n + 1) f / 100) slots to
    give out, a member of share e, behind members whose shares sum to C, out of E, gets
    floor((C + e) T / E) - floor(C T / E) of them, at least one. The slots add up to T or more, so
    some usable member always admits one more connection. Shares follow slow start.

    One deviation from HAProxy: a backend that is full or away takes no part, neither with its share
    nor with its connections; HAProxy leaves full ones in and counts the connections of all. Left
    in, the small limit of one backend would hold back all others. While somebody is full, the slots
    are ceil(e T / E) of the remaining, so that a backend that hovers at its limit costs O(1).

    Cost: O(1) per question and per lease; O(n) at the first question after a member went up or
    down or got another share.
    """

    def __init__(self, factor: float, roster: Roster) -> None:
        """`factor`, above 1, is rounded to whole percents, in which HAProxy has it."""
        self._percent = round(factor * 100)
        self._roster = roster
        self._watched: Sequence[Backend] = ()
        self._stale = True
        self._spans: dict[Backend, tuple[int, int]] = {}
        self._counted: dict[Backend, int] = {}
        self._absent = 0
        self._shares = 0
        self._open = 0

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """The roster has other members."""
        for backend in self._watched:
            backend.load_watchers.remove(self)
        self._watched = members
        for backend in self._watched:
            backend.load_watchers.append(self)
        self._spans.clear()
        self._counted.clear()
        self._stale = True

    def joined(self, backend: Backend, now: float) -> None:
        """`backend` is usable from now on."""
        span = self._spans.get(backend)
        if self._stale or span is None or backend in self._counted:
            self._stale = True
            return
        self._absent -= 1
        self._shares += span[1]
        self._open += backend.active
        self._counted[backend] = backend.active

    def left(self, backend: Backend, now: float) -> None:
        """`backend` is not usable from now on: full, or away."""
        if self._stale or not backend.full or backend not in self._counted:
            self._stale = True
            return
        self._absent += 1
        self._shares -= self._spans[backend][1]
        self._open -= self._counted.pop(backend)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Its share is another one."""
        self._stale = True

    def load_changed(self, backend: Backend, now: float) -> None:
        """`backend.active` is another one."""
        before = self._counted.get(backend)
        if before is not None:
            self._counted[backend] = backend.active
            self._open += backend.active - before

    def slots(self, backend: Backend) -> int:
        """Connections that `backend`, a usable member, may carry once one more is open."""
        if self._stale:
            self._lay_out()
        start, share = self._spans[backend]
        total = ((self._open + 1) * self._percent + 99) // 100
        if self._absent:
            return max(1, -(-share * total // self._shares))
        slots = (start + share) * total // self._shares - start * total // self._shares
        return max(1, slots)

    def admits(self, backend: Backend) -> bool:
        """Whether `backend`, a usable member, may take one more connection."""
        active = backend.active
        if not active:
            return True
        if self._stale:
            self._lay_out()
        total = ((self._open + 1) * self._percent + 99) // 100
        # Rounded down and rounded up, without a division: nearly always enough to know.
        fair = backend.share * total
        if (active + 1) * self._shares <= fair:
            return True
        return active * self._shares < fair and active < self.slots(backend)

    def _lay_out(self) -> None:
        usable = self._roster.usable
        self._spans.clear()
        self._shares = 0
        for backend in self._roster.members:
            if backend in usable:
                self._spans[backend] = (self._shares, backend.share)
                self._shares += backend.share
        self._counted = {backend: backend.active for backend in self._spans}
        self._open = sum(self._counted.values())
        self._absent = 0
        self._stale = False


def load_bound(factor: float | None, roster: Roster) -> LoadBound | None:
    """The bound that a rule's `load_factor` asks for, up to date with its roster; None: none."""
    return None if factor is None else roster.followed_by(LoadBound(factor, roster))
