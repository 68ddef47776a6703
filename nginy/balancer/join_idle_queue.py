"""Join idle queue: whoever has been idle longest; if nobody is, another rule."""

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.backend.pool import Outcome
from nginy.balancer.base import Balancer
from nginy.balancer.least_conn import LeastConn
from nginy.balancer.random_choice import RandomChoice, RandomTwo
from nginy.balancer.roster import Eligible, RosterPolicy, Tried
from nginy.config.strategies import (
    JoinIdleQueueSettings,
    LeastConnSettings,
    RandomSettings,
    RandomTwoSettings,
)


class JoinIdleQueue(Balancer[JoinIdleQueueSettings]):
    """The usable backend that became idle first; if none is idle, what `otherwise` names decides.

    Idle is a backend without an open connection, of whatever rule: unlike the paper's many
    dispatchers, this one knows at once when an idle backend gets work from elsewhere, and takes it
    off the list. Who becomes usable while idle goes to the end of the list. Weights: none among the
    idle (an idle backend of any weight serves at once); `otherwise` heeds them. An unavailable
    backend is not on the list. Cost: O(1) while somebody is idle, else that of `otherwise`.
    Source: Lu, Xie, Kliot, Geller, Larus, Greenberg, "Join-Idle-Queue", Performance Evaluation
    2011, with one dispatcher.
    """

    watches_load = True

    def prepare(self) -> None:
        """Nobody is idle yet."""
        # A dict would pass over the places of all who left its front since it last grew.
        self._idle: OrderedDict[Backend, None] = OrderedDict()
        self._otherwise = _otherwise(self.settings.otherwise, self.rng, self.roster.policy)

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Backends that stay keep their place in the list."""
        before = tuple(self._idle)
        super().rebuild(backends, now)
        for backend in reversed(before):
            if backend in self._idle:
                self._idle.move_to_end(backend, last=False)
        self._otherwise.roster.policy = self.roster.policy
        self._otherwise.rebuild(backends, now)

    def joined(self, backend: Backend, now: float) -> None:
        """On the list if it is idle."""
        self._list(backend)

    def left(self, backend: Backend, now: float) -> None:
        """Off the list."""
        self._idle.pop(backend, None)

    def load_changed(self, backend: Backend, now: float) -> None:
        """On the list when it becomes idle, off it when it gets work."""
        if backend in self.roster.usable:
            self._list(backend)

    def _list(self, backend: Backend) -> None:
        if backend.active == 0:
            self._idle.setdefault(backend, None)
        else:
            self._idle.pop(backend, None)

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The first of the list, which is of usable ones."""
        for backend in self._idle:
            if backend not in tried:
                return backend
        chosen = self._otherwise.pick(client, now, tried)
        assert chosen is not None  # it has the same members, by the same policy
        return chosen

    def closed(self, backend: Backend, outcome: Outcome, now: float) -> None:
        """The other rule may learn from failures."""
        self._otherwise.closed(backend, outcome, now)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Places in the list; if it is empty, what the other rule compares."""
        if not self._idle:
            return self._otherwise.scores(client, now)
        places = {backend: place for place, backend in enumerate(self._idle, 1)}
        return {
            backend: f"idle, {places[backend]} in line" if backend in places else "busy"
            for backend in self.roster.in_order()
        }

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Idle, or the other rule's reason."""
        if chosen in self._idle:
            return "it has been idle longest"
        reason = self._otherwise.reason(client, chosen, now)
        return f"nobody is idle, so {self.settings.otherwise} decides: {reason}"


def _otherwise(name: str, rng: random.Random, policy: RosterPolicy) -> Balancer[Any]:
    # Not by the registry, which imports this file.
    if name == "least_conn":
        return LeastConn(LeastConnSettings(), rng, policy)
    if name == "random_two":
        return RandomTwo(RandomTwoSettings(), rng, policy)
    return RandomChoice(RandomSettings(), rng, policy)
