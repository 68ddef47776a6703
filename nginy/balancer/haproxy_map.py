"""HAProxy's map of servers by weight: its static-rr walks it, its map-based hashes index it."""

from array import array
from collections.abc import Iterator, Sequence, Set
from heapq import heapify, heappop, heappush, heapreplace

from nginy.backend.backend import Backend


class ServerMap:
    """Servers interleaved by weight, found by a number modulo the map's length."""

    def __init__(self, servers: Sequence[Backend], weights: Sequence[int]) -> None:
        """Weights are at least 1; a common divisor makes another map. O(total weight log n)."""
        self.servers = tuple(servers)
        self.places = server_map(weights)

    def owner(self, hashed: int, usable: Set[Backend]) -> Backend:
        """Of place `hashed` modulo length, usable or not."""
        return self.servers[self.places[hashed % len(self.places)]]

    def walk(self, hashed: int, usable: Set[Backend]) -> Iterator[Backend]:
        """Once around, from place `hashed` modulo length; those not in `usable` too."""
        servers, places = self.servers, self.places
        start = hashed % len(places)
        for at in range(start, len(places)):
            yield servers[places[at]]
        for at in range(start):
            yield servers[places[at]]


def server_map(weights: Sequence[int]) -> "array[int]":
    """Indexes of `weights` (each at least 1), interleaved; index i occurs weights[i] times.

    HAProxy's rule: at each place every server's score grows by its weight, the first with the
    largest (score + total) // total has the place, and its score shrinks by the total. At place t
    that quotient is, but for a constant, floor(w_i t / total) less the places server i has: a
    credit that grows at known places. So the largest lies on a heap, and the map costs
    O(total log n) instead of HAProxy's O(total n).
    Source: recalc_server_map in lb_map.c (2.6).
    """
    total = sum(weights)
    credits = [0] * len(weights)
    best = [(0, index) for index in range(len(weights))]
    growing = [(-(-total // weight), index) for index, weight in enumerate(weights)]
    heapify(growing)
    earned = [1] * len(weights)
    places = array("I")
    for place in range(1, total + 1):
        while growing[0][0] == place:
            index = growing[0][1]
            earned[index] += 1
            heapreplace(growing, (-(-earned[index] * total // weights[index]), index))
            credits[index] += 1
            heappush(best, (-credits[index], index))
        while -best[0][0] != credits[best[0][1]]:
            heappop(best)
        chosen = best[0][1]
        credits[chosen] -= 1
        heapreplace(best, (-credits[chosen], chosen))
        places.append(chosen)
    return places
