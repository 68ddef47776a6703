"""One step of nginx's smooth weighted round robin, over any choice of the members.

The default method uses it on all usable backends; least connections uses it among the tied, and
the random and hashing methods fall back to it. Source: ngx_stream_upstream_round_robin.c (1.22.1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nginy.backend.backend import Backend


@dataclass(slots=True)
class _Share:
    """A member's standing: what it is owed, and what a step adds to that."""

    weight: int
    effective: int
    current: int = 0


class SmoothWeights:
    """Current and effective weights of the members."""

    def __init__(self) -> None:
        """No members yet."""
        self._shares: dict[Backend, _Share] = {}

    def rebuild(self, members: Iterable[Backend]) -> None:
        """Take a new membership: those who stay keep what they are owed, newcomers start at 0."""
        self._shares = {backend: self._share(backend) for backend in members}

    def _share(self, backend: Backend) -> _Share:
        old = self._shares.get(backend)
        if old is None:
            return _Share(backend.weight, backend.weight)
        if old.weight == backend.weight:
            return old
        return _Share(backend.weight, backend.weight, old.current)

    def step(self, usable: Sequence[Backend]) -> Backend | None:
        """The next of `usable` (members in order, ties go to the earlier); None if it is empty.

        O(len(usable)). Members not in `usable` keep their standing untouched; one that was
        punished recovers one unit in each step it takes part in.
        """
        best: Backend | None = None
        best_share: _Share | None = None
        total = 0
        for backend in usable:
            share = self._shares[backend]
            share.current += share.effective
            total += share.effective
            if share.effective < share.weight:
                share.effective += 1
            if best_share is None or share.current > best_share.current:
                best, best_share = backend, share
        if best_share is not None:
            best_share.current -= total
        return best

    def punish(self, backend: Backend) -> None:
        """A failed attempt costs weight // max_fails of the effective weight, down to 0."""
        share = self._shares.get(backend)
        if share is not None and backend.penalty.max_fails > 0:
            share.effective = max(0, share.effective - share.weight // backend.penalty.max_fails)
