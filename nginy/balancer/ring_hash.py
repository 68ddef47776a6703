"""Ring hash: Envoy's."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from math import ceil

from xxhash import xxh64_intdigest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.consistent import ConsistentHash
from nginy.balancer.hash_key import key_of
from nginy.balancer.renewal import Slices, sorted_pieces
from nginy.config.strategies import RingHashSettings


class RingHash(ConsistentHash[RingHashSettings, int]):
    """The owner of the first of many points on a ring at or after the key's hash.

    Points are xxHash64("<name>_<j>"), keys xxHash64(key). Unavailable choice: on along the ring, so
    the keys of a backend that is away spread over the others, every other key stays, and they come
    back with it. (Envoy makes another ring, of the healthy hosts.)
    Weights: a backend has points in proportion to its weight, the lightest at least
    ceil(its part of minimum_ring_size). With v points each, shares have a coefficient of variation
    of about 1/sqrt(v); with 1024 points for 1000 backends or more that is one point each, so raise
    minimum_ring_size to 100 per backend or more. Taking one of n backends out of the list moves its
    1/n of the keys, and nearly as many again, as the others' points grow to fill the ring.
    Of backends of one name the first in the list has the points, the others stand by.
    Cost: O(log points), and on average members/usable steps along the ring, 1 to 2 us at 10 000
    backends. With `load_factor`, members/(those with room) steps, each about 1.5 us at 10 000
    backends, where no cache holds them all: with 1.25 and one connection per backend, of 1 000
    clients, 5 to 8 steps, 8 to 14 us. Making a ring takes about 1 s per million points.
    Source: ring_hash_lb.cc of Envoy (sizes: minimum_ring_size 1024, maximum_ring_size 8388608).
    """

    def slices(self, members: Sequence[Backend], now: float) -> "Slices[PointRing]":
        """O(points log points)."""
        weights = [backend.place_weight for backend in members]
        settings = self.settings
        counts = point_counts(weights, settings.minimum_ring_size, settings.maximum_ring_size)
        return PointRing.slices(members, counts)

    def hashed(self, client: Address) -> int:
        """Of the key, 64 bits."""
        return xxh64_intdigest(key_of(client, self.settings.key))

    def place(self, client: Address) -> str:
        """The key's hash."""
        key = key_of(client, self.settings.key)
        return f"key {key.decode()} hashes to {xxh64_intdigest(key):#018x}, the next point is of"


class PointRing:
    """Points in order, and whose they are."""

    def __init__(
        self, members: Sequence[Backend], points: "array[int]", owners: "array[int]"
    ) -> None:
        """Points in ascending order, and the places of their owners in `members`."""
        self._members = members
        self._points = points
        self._owners = owners

    @classmethod
    def slices(cls, members: Sequence[Backend], counts: Sequence[int]) -> "Slices[PointRing]":
        """The making of one with so many points for each of `members`."""
        hashes = (
            xxh64_intdigest(f"{backend.hash_name}_{number}".encode()) << 32 | owner
            for owner, (backend, count) in enumerate(zip(members, counts, strict=True))
            for number in range(count)
        )
        points, owners = array("Q"), array("I")
        for piece in sorted_pieces(hashes, 64 + 32):
            points.extend(packed >> 32 for packed in piece)
            owners.extend(packed & 0xFFFFFFFF for packed in piece)
            yield
        return cls(members, points, owners)

    def owner(self, hashed: int, usable: Set[Backend]) -> Backend:
        """Of the next point, usable or not."""
        next_point = bisect_left(self._points, hashed) % len(self._points)
        return self._members[self._owners[next_point]]

    def walk(self, hashed: int, usable: Set[Backend]) -> Iterator[Backend]:
        """Once around the ring from the next point, then everybody: some may have no point."""
        members, owners = self._members, self._owners
        start = bisect_left(self._points, hashed) % len(owners)
        for at in range(start, len(owners)):
            yield members[owners[at]]
        for at in range(start):
            yield members[owners[at]]
        yield from members


def point_counts(weights: Sequence[int], minimum: int, maximum: int) -> list[int]:
    """Points per backend on a ring of `minimum` to `maximum` points, in proportion to `weights`.

    The lightest has a whole number of points; the rest is rounded up along the running total, in
    doubles, as Envoy does, so a backend may have none on a ring that is too small for it.
    """
    total = sum(weights)
    lightest = min(weights) / total
    scale = min(ceil(lightest * minimum) / lightest, float(maximum))
    counts, placed, target = [], 0, 0.0
    for weight in weights:
        target += scale * (weight / total)
        count = max(0, ceil(target) - placed)
        counts.append(count)
        placed += count
    return counts
