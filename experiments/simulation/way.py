"""How long messages take between two hosts: delay, jitter, rate, and a model of TCP.

Exact for datagrams, and for TCP without loss: handshake, slow start with an initial window of ten
segments (RFC 6928) that doubles every round trip, on both legs of a proxied connection. With loss
it is a model: a lost SYN is sent again after 1, 2, 4 s (RFC 6298, as Linux does), a lost request
after a round trip and 200 ms, doubling; a lost segment of an answer costs a round trip if three
later ones come, and else one round trip and 200 ms. CPU time of kernels and balancer is not in it.
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache

from topologies.shapes.shape import LinkSpec

MSS_BYTES = 1448
INITIAL_WINDOW = 10
SYN_RETRY_S = 1.0
LEAST_RETRY_S = 0.2
FRAME_OVERHEAD_BYTES = 66
"""Ethernet, IPv4, TCP with timestamps, around each segment."""
DUPLICATES = 3


class Leg:
    """One direction between two hosts. Shared links are not: where a rate is asked of a link that
    several hosts use, each leg has all of it."""

    def __init__(self, specs: Sequence[LinkSpec], rng: random.Random) -> None:
        """`specs` of the directions on the way, in order."""
        self._rng = rng
        self.delay_s = sum(spec.delay_ms for spec in specs) / 1e3
        self._jitter_s = [spec.jitter_ms / 1e3 for spec in specs if spec.jitter_ms]
        self._arrives = math.prod(1 - spec.loss_pct / 100 for spec in specs)
        rates = [spec.rate_mbps for spec in specs if spec.rate_mbps is not None]
        self.bytes_per_s = min(rates) * 1e6 / 8 if rates else math.inf
        self._free_s = 0.0

    @property
    def lossy(self) -> bool:
        """Whether something can be lost."""
        return self._arrives < 1

    def passes(self) -> bool:
        """Whether one packet does."""
        return self._arrives == 1 or self._rng.random() < self._arrives

    def drawn_delay_s(self) -> float:
        """Of one packet."""
        delay_s = self.delay_s
        for jitter_s in self._jitter_s:
            delay_s += jitter_s * (2 * self._rng.random() - 1)
        return delay_s

    def carry(self, sent_s: float, payload_bytes: int) -> float:
        """When the last byte of a message is there whose first was sent at `sent_s`, after the
        messages before it have left: to be asked in the order of sending."""
        if self.bytes_per_s == math.inf:
            return sent_s + self.drawn_delay_s()
        segments = max(1, -(-payload_bytes // MSS_BYTES))
        size = payload_bytes + FRAME_OVERHEAD_BYTES * segments
        self._free_s = max(sent_s, self._free_s) + size / self.bytes_per_s
        return self._free_s + self.drawn_delay_s()


class Way:
    """Both directions between two hosts."""

    def __init__(self, up: Leg, down: Leg) -> None:
        """`up`: from the one who connects."""
        self.up, self.down = up, down
        self.round_trip_s = up.delay_s + down.delay_s

    def handshake(self, now_s: float) -> float:
        """When a connection that is begun now is established at its beginner."""
        retry_s = SYN_RETRY_S
        while not (self.up.passes() and self.down.passes()):
            now_s += retry_s
            retry_s *= 2
        return now_s + self.up.drawn_delay_s() + self.down.drawn_delay_s()

    def retries_s(self) -> float:
        """How long a request's first transmissions take that are lost."""
        lost_s, retry_s = 0.0, self.round_trip_s + LEAST_RETRY_S
        while not self.up.passes():
            lost_s += retry_s
            retry_s *= 2
        return lost_s


def answer_s(first_s: float, payload_bytes: int, legs: Sequence[Way]) -> tuple[float, float]:
    """When first and last byte of an answer, begun at `first_s`, have come through all `legs`."""
    begun_s = first_s
    segments = max(1, -(-payload_bytes // MSS_BYTES))
    trips = tuple(way.round_trip_s for way in legs)
    windows_s = waits_for_windows(segments, trips)
    for way in legs:
        first_s += way.down.drawn_delay_s()
    slowest = min(way.down.bytes_per_s for way in legs)
    last_s = first_s + windows_s
    if slowest < math.inf:
        (narrow,) = [way for way in legs if way.down.bytes_per_s == slowest][:1]
        last_s = max(
            last_s,
            narrow.down.carry(begun_s, payload_bytes) + first_s - begun_s - narrow.down.delay_s,
        )
    for way in legs:
        if way.down.lossy:
            lost_s = _lost_s(way, segments)
            last_s += lost_s
    return first_s, last_s


def _lost_s(way: Way, segments: int) -> float:
    """What losses of an answer's segments add."""
    added_s = 0.0
    for number in range(segments):
        retry_s = way.round_trip_s + LEAST_RETRY_S
        if way.down.passes():
            continue
        added_s += way.round_trip_s if segments - number > DUPLICATES else retry_s
        while not way.down.passes():
            retry_s *= 2
            added_s += retry_s
    return added_s


@lru_cache(maxsize=4096)
def waits_for_windows(segments: int, round_trips_s: tuple[float, ...]) -> float:
    """How long after the first segment the last one comes, for want of window: on each leg a window
    of ten segments that doubles, the later legs fed by those before."""
    came_s = [0.0] * segments
    for trip_s in round_trips_s:
        begun_s, latest_s = came_s[0], 0.0
        for number in range(segments):
            window = int(math.log2(number / INITIAL_WINDOW + 1))
            latest_s = max(latest_s, came_s[number], begun_s + window * trip_s)
            came_s[number] = latest_s
    return came_s[-1] - came_s[0]
