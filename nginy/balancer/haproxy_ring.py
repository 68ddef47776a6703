"""HAProxy's consistent hash: a ring of 32-bit points, of which the nearest counts.

Source: lb_chash.c and full_hash in tools.h of HAProxy 2.6; the integer hash is Bob Jenkins' in the
public domain (burtleburtle.net/bob/hash/integer.html).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set

from nginy.backend.backend import Backend

WORD = 0xFFFFFFFF
POINTS_PER_WEIGHT = 16
STRIDE = 4096
"""Distance of two servers' inputs: as many as the points of HAProxy's largest weight, 256."""


def full_avalanche(value: int) -> int:
    """A 32-bit hash of a 32-bit integer."""
    value = (value * 4097 + 0x7ED55D16) & WORD  # value + (value << 12), and so on
    value = value ^ 0xC761C23C ^ (value >> 19)
    value = (value * 33 + 0x165667B1) & WORD
    value = (value + 0xD3A2646C ^ value << 9) & WORD
    value = (value * 9 + 0xFD7046C5) & WORD
    return (value ^ 0xB55A4F09 ^ (value >> 16)) * 3221225473 & WORD


class NearestRing:
    """Each server has the points full_avalanche(4096 number + k), k = 0 .. 16 weight - 1."""

    def __init__(
        self, servers: Sequence[Backend], numbers: Sequence[int], weights: Sequence[int]
    ) -> None:
        """Weights are 1 to 256. O(points log points)."""
        ring = sorted(
            full_avalanche((STRIDE * number + point) & WORD) << 32 | index
            for index, (number, weight) in enumerate(zip(numbers, weights, strict=True))
            for point in range(POINTS_PER_WEIGHT * weight)
        )
        self.servers = tuple(servers)
        self._points = array("I", (packed >> 32 for packed in ring))
        self._owners = array("I", (packed & WORD for packed in ring))

    def owner(self, hashed: int, usable: Set[Backend]) -> Backend:
        """Of the point of a usable server (there is one) nearest to `hashed`, on either side."""
        return self.servers[self._owners[self._nearest(hashed, usable)]]

    def walk(self, hashed: int, usable: Set[Backend]) -> Iterator[Backend]:
        """From that point clockwise, once around."""
        servers, owners = self.servers, self._owners
        start = self._nearest(hashed, usable)
        for at in range(start, len(owners)):
            yield servers[owners[at]]
        for at in range(start):
            yield servers[owners[at]]

    def _nearest(self, hashed: int, usable: Set[Backend]) -> int:
        points, owners, servers = self._points, self._owners, self.servers
        count = len(points)
        following = bisect_left(points, hashed) % count
        preceding = (following or count) - 1
        if (hashed - points[preceding]) & WORD <= (points[following] - hashed) & WORD:
            nearest = preceding
        else:
            nearest = following
        if servers[owners[nearest]] in usable:
            return nearest
        while servers[owners[following]] not in usable:
            following = (following + 1) % count
        while servers[owners[preceding]] not in usable:
            preceding = (preceding - 1) % count
        before = (hashed - points[preceding]) & WORD
        after = (points[following] - hashed) & WORD
        return preceding if before <= after else following
