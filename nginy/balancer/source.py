"""Source: HAProxy's balance source, with its two tables: a map by weight, and a ring.

Sources: lb_map.c, lb_chash.c, gethash in backend.c and full_hash in tools.h of HAProxy 2.6; the
integer hash is Bob Jenkins' in the public domain (burtleburtle.net/bob/hash/integer.html).
"""

import socket
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, Set
from heapq import heapify, heappop, heappush, heapreplace
from math import gcd

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.balancer.consistent import ConsistentHash
from nginy.balancer.hash_key import plain_host
from nginy.balancer.renewal import STEP, Slices, finished, sorted_pieces
from nginy.config.strategies import SourceSettings

ID_DIGITS = 10
"""HAProxy's ids go up to 2**31 - 1."""
HEAVIEST = 256
"""HAProxy's largest weight; where there are heavier ones, all are scaled down."""
WORD = 0xFFFFFFFF
POINTS_PER_WEIGHT = 16
STRIDE = POINTS_PER_WEIGHT * HEAVIEST
"""Distance of two servers' inputs."""
MAPS_KEPT = 4
"""Of those who were up lately: a backend that flaps goes back and forth between two."""


class Source(ConsistentHash[SourceSettings, int]):
    """The client's address as a number, without a hash function, as HAProxy maps it to servers.

    IPv4 is taken as one 32-bit number, IPv6 as the exclusive or of its four words. `avalanche`
    scrambles the number.

    `map`: the number modulo the length of the map of the backends that are up, interleaved by
    weight. A backend that goes up or down makes another map, and about 1 - 1/n of all clients move;
    one that flaps goes between two that are kept.
    `consistent`: the nearest of 16 points per unit of weight on a ring; the clients of a backend
    that is away go to the points next to its own, every other stays, and they come back with it.
    Points depend on the backend's number: its id if the ids of all are numbers (HAProxy's `id`),
    else its place in the rule, from 1, so that taking out a line moves the clients of those after.

    Full backend: HAProxy lets the client wait for it; here it goes on along the map, or to the
    nearest point of another, and weights above 256 are scaled down, which HAProxy refuses.
    Cost: O(1) with `map`, O(log points) with `consistent`, and on average members/usable steps from
    there, 2 to 3 us at 10 000 backends. With `load_factor`, members/(those with room) steps, each
    about 1.5 us at 10 000 backends, where no cache holds them all: with 1.25 and one connection per
    backend, of 1 000 clients, 5 to 8 steps, 10 to 15 us. Making the map or the ring takes about 2 s
    per million places or points.
    Sources: lb_map.c, lb_chash.c and gethash in backend.c of HAProxy 2.6.
    """

    def prepare(self) -> None:
        """Nobody is in the table yet."""
        super().prepare()
        chosen = self.settings.avalanche
        self._avalanche = self.settings.method == "consistent" if chosen is None else chosen
        self._placed: frozenset[Backend] = frozenset()
        """Who is in the table."""
        self._maps: dict[tuple[tuple[Backend, ...], tuple[int, ...]], ServerMap] = {}
        """By servers and weights, the one used last at the end."""

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership, and watch who goes up and down."""
        for backend in self.roster.members:
            backend.watchers.remove(self)
        super().rebuild(backends, now)
        self._maps.clear()
        for backend in backends:
            backend.watchers.append(self)

    def joined(self, backend: Backend, now: float) -> None:
        """Another map, unless it was only full. (Only the roster hears of a penalty that ends.)"""
        if backend not in self._placed:
            self.changed()

    def state_changed(self, backend: Backend, now: float) -> None:
        """Another map, if it went up or down; the roster has heard of it before."""
        in_map = backend in self._placed
        if self.settings.method == "map" and self._is_up(backend, now) is not in_map:
            self.changed()

    def share_changed(self, backend: Backend, now: float) -> None:
        """`reweighed` sees to it."""

    def slices(self, members: Sequence[Backend], now: float) -> "Slices[ServerMap | NearestRing]":
        """The map: O(total weight log n). The ring: O(points log points)."""
        weights = haproxy_weights(members)
        yield
        if self.settings.method == "consistent":
            self._placed = frozenset(members)
            return (yield from NearestRing.slices(members, server_numbers(members), weights))
        # Those away count as well, so the map of the others is as long as HAProxy's.
        divisor = gcd(*(w for w, backend in zip(weights, members, strict=True) if backend.weight))
        up = [at for at, backend in enumerate(members) if self._is_up(backend, now)]
        self._placed = frozenset(members[at] for at in up)
        servers = tuple(members[at] for at in up)
        return (yield from self._map_of(servers, tuple(weights[at] // divisor for at in up)))

    def _map_of(
        self, servers: tuple[Backend, ...], weights: tuple[int, ...]
    ) -> "Slices[ServerMap]":
        """One that was made lately, or a new one."""
        known = self._maps.pop((servers, weights), None)
        if known is None:
            known = ServerMap(servers, (yield from map_slices(weights)))
        self._maps[servers, weights] = known
        if len(self._maps) > MAPS_KEPT:
            del self._maps[next(iter(self._maps))]
        return known

    def place(self, client: Address) -> str:
        """The number, and where it falls."""
        number, hashed = source_number(client), self.hashed(client)
        scrambled = f", scrambled {hashed:#010x}," if hashed != number else ""
        text = f"address {plain_host(client.host)} is the number {number:#010x}{scrambled}"
        if not isinstance(self._table, ServerMap):
            return f"{text} and the nearest point of a usable backend is of"
        length = len(self._table.places)
        return f"{text} and place {hashed % length} of {length} on the map is of"

    def hashed(self, client: Address) -> int:
        """The number, scrambled or not."""
        number = source_number(client)
        return full_avalanche(number) if self._avalanche else number

    def _is_up(self, backend: Backend, now: float) -> bool:
        if backend in self.roster.usable:
            return True
        heed_health = self.roster.policy.heed_health
        return backend.obstacle(now, heed_health=heed_health) is Obstacle.FULL


def source_number(client: Address) -> int:
    """The 32-bit number of an address: IPv4 as it is, IPv6 the exclusive or of its words.

    An IPv4-mapped address counts as the IPv4 address it stands for.
    """
    host = plain_host(client.host)
    if ":" not in host:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, host))
    number = int.from_bytes(socket.inet_pton(socket.AF_INET6, host.partition("%")[0]))
    number ^= number >> 64
    return (number ^ number >> 32) & 0xFFFFFFFF


def server_numbers(backends: Sequence[Backend]) -> list[int]:
    """HAProxy's server ids: the ids if all are numbers, else the places from 1.

    Numbers that share their points (equal modulo 2**20) would leave one of them without keys; then
    places count, too.
    """
    if all(backend.id.isdecimal() and len(backend.id) <= ID_DIGITS for backend in backends):
        numbers = [int(backend.id) for backend in backends]
        if len({number * STRIDE & WORD for number in numbers}) == len(numbers):
            return numbers
    return list(range(1, len(backends) + 1))


def haproxy_weights(backends: Sequence[Backend]) -> list[int]:
    """Weights of 1 to 256, scaled down in proportion if there are larger ones."""
    weights = [backend.place_weight for backend in backends]
    heaviest = max(weights)
    if heaviest <= HEAVIEST:
        return weights
    return [max(1, weight * HEAVIEST // heaviest) for weight in weights]


class ServerMap:
    """Servers interleaved by weight, found by a number modulo the map's length: static-rr walks it,
    map-based hashes index it."""

    def __init__(self, servers: Sequence[Backend], places: "array[int]") -> None:
        """Places as `server_map` gives them for the servers' weights."""
        self.servers = tuple(servers)
        self.places = places

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
    """See `map_slices`: all at once."""
    return finished(map_slices(weights))


def map_slices(weights: Sequence[int]) -> "Slices[array[int]]":
    """The making of: indexes of `weights` (each at least 1; a common divisor makes another map),
    interleaved; index i occurs weights[i] times.

    HAProxy's rule (recalc_server_map): at each place every server's score grows by its weight, the
    first with the largest (score + total) // total has the place, and its score shrinks by the
    total. At place t that quotient is, but for a constant, floor(w_i t / total) less the places
    server i has: a credit that grows at known places. So the largest lies on a heap, and the map
    costs O(total log n) instead of HAProxy's O(total n).
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
        if not place % STEP:
            yield
    return places


class NearestRing:
    """Each server has the points full_avalanche(4096 number + k), k = 0 .. 16 weight - 1; the
    nearest to a hash counts, on either side."""

    def __init__(
        self, servers: Sequence[Backend], points: "array[int]", owners: "array[int]"
    ) -> None:
        """Points in ascending order, and the places of their owners in `servers`."""
        self.servers = tuple(servers)
        self._points = points
        self._owners = owners

    @classmethod
    def slices(
        cls, servers: Sequence[Backend], numbers: Sequence[int], weights: Sequence[int]
    ) -> "Slices[NearestRing]":
        """The making of one. Weights are 1 to 256. O(points log points)."""
        placed = (
            full_avalanche((STRIDE * number + point) & WORD) << 32 | index
            for index, (number, weight) in enumerate(zip(numbers, weights, strict=True))
            for point in range(POINTS_PER_WEIGHT * weight)
        )
        points, owners = array("I"), array("I")
        for piece in sorted_pieces(placed, 32 + 32):
            points.extend(packed >> 32 for packed in piece)
            owners.extend(packed & WORD for packed in piece)
            yield
        return cls(servers, points, owners)

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


def full_avalanche(value: int) -> int:
    """A 32-bit hash of a 32-bit integer."""
    value = (value * 4097 + 0x7ED55D16) & WORD  # value + (value << 12), and so on
    value = value ^ 0xC761C23C ^ (value >> 19)
    value = (value * 33 + 0x165667B1) & WORD
    value = (value + 0xD3A2646C ^ value << 9) & WORD
    value = (value * 9 + 0xFD7046C5) & WORD
    return (value ^ 0xB55A4F09 ^ (value >> 16)) * 3221225473 & WORD
