"""Source: HAProxy's balance source, map-based and consistent."""

import random
import socket
from collections.abc import Iterator, Sequence
from math import gcd

from nginy.address import Address
from nginy.backend.backend import Backend, Obstacle
from nginy.balancer.consistent import ConsistentBalancer
from nginy.balancer.haproxy_map import ServerMap
from nginy.balancer.haproxy_ring import STRIDE, WORD, NearestRing, full_avalanche
from nginy.balancer.hash_key import plain_host
from nginy.balancer.roster import RosterPolicy
from nginy.config.strategies import SourceSettings

ID_DIGITS = 10
"""HAProxy's ids go up to 2**31 - 1."""
HEAVIEST = 256
"""HAProxy's largest weight; where there are heavier ones, all are scaled down."""


class Source(ConsistentBalancer[SourceSettings]):
    """The client's address as a number, without a hash function, as HAProxy maps it to servers.

    IPv4 is taken as one 32-bit number, IPv6 as the exclusive or of its four words. `avalanche`
    scrambles the number.

    `map`: the number modulo the length of the map of the backends that are up, interleaved by
    weight. A backend that goes up or down makes another map, and about 1 - 1/n of all clients move.
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

    _table: ServerMap | NearestRing

    def __init__(
        self,
        settings: SourceSettings,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        chosen = settings.avalanche
        self._avalanche = settings.method == "consistent" if chosen is None else chosen
        self._placed: frozenset[Backend] = frozenset()
        """Who is in the table."""

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership, and watch who goes up and down."""
        for backend in self.roster.members:
            backend.watchers.remove(self)
        super().rebuild(backends, now)
        for backend in backends:
            backend.watchers.append(self)

    def joined(self, backend: Backend, now: float) -> None:
        """Another map, unless it was only full. (Only the roster hears of a penalty that ends.)"""
        super().joined(backend, now)
        if backend not in self._placed:
            self._outdated = True

    def state_changed(self, backend: Backend, now: float) -> None:
        """Another map, if it went up or down; the roster has heard of it before."""
        in_map = backend in self._placed
        if self.settings.method == "map" and self._is_up(backend, now) is not in_map:
            self._outdated = True

    def share_changed(self, backend: Backend, now: float) -> None:
        """`reweighed` sees to it."""

    def build(self, members: Sequence[Backend], now: float) -> None:
        """The map: O(total weight log n). The ring: O(points log points)."""
        weights = haproxy_weights(members)
        if self.settings.method == "consistent":
            self._table = NearestRing(members, server_numbers(members), weights)
            self._placed = frozenset(members)
            return
        # Those away count as well, so the map of the others is as long as HAProxy's.
        divisor = gcd(*(w for w, backend in zip(weights, members, strict=True) if backend.weight))
        up = [at for at, backend in enumerate(members) if self._is_up(backend, now)]
        self._table = ServerMap([members[at] for at in up], [weights[at] // divisor for at in up])
        self._placed = frozenset(self._table.servers)

    def owner(self, client: Address) -> Backend:
        """Of the client's place, or of the nearest usable point."""
        return self._table.owner(self._hash(client), self.roster.usable)

    def walk(self, client: Address) -> Iterator[Backend]:
        """From the client's place, or from the nearest usable point, once around."""
        return self._table.walk(self._hash(client), self.roster.usable)

    def place(self, client: Address) -> str:
        """The number, and where it falls."""
        number, hashed = source_number(client), self._hash(client)
        scrambled = f", scrambled {hashed:#010x}," if hashed != number else ""
        text = f"address {plain_host(client.host)} is the number {number:#010x}{scrambled}"
        if isinstance(self._table, NearestRing):
            return f"{text} and the nearest point of a usable backend is of"
        length = len(self._table.places)
        return f"{text} and place {hashed % length} of {length} on the map is of"

    def _hash(self, client: Address) -> int:
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
