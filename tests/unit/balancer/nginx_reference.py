"""nginx's walks as they are defined, over all members: what the quick structures must equal."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from nginy.backend.backend import FULL_SHARE, Backend, Obstacle
from nginy.balancer.response_time import average, time_class


@dataclass
class Peer:
    backend: Backend
    current: int = 0
    lost: int = 0
    average_ms: int = 0
    tried_at: float = float("-inf")
    waiting: int = 0
    waited_ms: int = 0
    waiting_since: float = 0.0
    age_ms: int = 0

    @property
    def share(self) -> int:
        return self.backend.share

    @property
    def effective(self) -> int:
        return max(0, self.share - self.lost)

    def take_part(self) -> int:
        added = self.effective
        self.current += added
        self.lost = max(0, self.lost - FULL_SHARE)
        return added

    def punish(self) -> None:
        fails = self.backend.penalty.max_fails
        loss = FULL_SHARE * (self.backend.weight // fails) if fails else 0
        self.lost = min(self.share, self.lost + loss)

    def estimate(self, now: float) -> int:
        period = int(self.backend.penalty.fail_timeout_s) + 1
        silent = now - self.tried_at
        time_ms = self.average_ms >> (int(silent // period) if silent < 1e9 else 99)
        if self.waiting:
            time_ms = max(time_ms, self.age_ms)
        return time_class(time_ms) * (1 + self.backend.active)


@dataclass
class Reference:
    """Peers in the configuration's order."""

    backends: Sequence[Backend]
    peers: list[Peer] = field(init=False)

    def __post_init__(self) -> None:
        self.peers = [Peer(backend) for backend in self.backends]

    def peer(self, backend: Backend) -> Peer:
        return self.peers[self.backends.index(backend)]

    def usable(self, now: float, avoid: Collection[Backend]) -> list[Peer]:
        alone = len(self.peers) == 1
        return [
            peer
            for peer in self.peers
            if peer.backend not in avoid
            and peer.backend.obstacle(now) in ((None, Obstacle.PENALISED) if alone else (None,))
            and not peer.backend.full
        ]

    def step(self, peers: Sequence[Peer]) -> Backend | None:
        best: Peer | None = None
        total = 0
        for peer in peers:
            total += peer.take_part()
            if best is None or peer.current > best.current:
                best = peer
        if best is None:
            return None
        best.current -= total
        return best.backend

    def round_robin(self, now: float, avoid: Collection[Backend] = ()) -> Backend | None:
        return self.step(self.usable(now, avoid))

    def least_conn(self, now: float, avoid: Collection[Backend] = ()) -> Backend | None:
        tied: list[Peer] = []
        for peer in self.usable(now, avoid):
            if tied:
                ours = peer.backend.active * tied[0].share
                theirs = tied[0].backend.active * peer.share
                if ours > theirs:
                    continue
                if ours < theirs:
                    tied = []
            tied.append(peer)
        return tied[0].backend if len(tied) == 1 else self.step(tied)

    def least_time(self, now: float, avoid: Collection[Backend] = ()) -> Backend | None:
        """With the loop of 1.31.5: the first one's estimate, the present best's weight."""
        peers = self.usable(now, avoid)
        best: Peer | None = None
        least, many = 0, False
        for peer in peers:
            if peer.waiting:
                passed = round(1000 * (now - peer.waiting_since))
                peer.age_ms = average(peer.age_ms, peer.waited_ms // peer.waiting + passed)
            estimate = peer.estimate(now)
            if best is None or estimate * best.share < least * peer.share:
                best, least, many = peer, estimate, False
            elif estimate * best.share == least * peer.share:
                many = True
        if best is None or not many:
            return best and best.backend
        total = 0
        for peer in peers[peers.index(best) :]:
            if peer.estimate(now) * best.share == least * peer.share:
                total += peer.take_part()
                if peer.current > best.current:
                    best = peer
        best.current -= total
        return best.backend
