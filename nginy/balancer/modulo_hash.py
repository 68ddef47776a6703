"""Hashes modulo the sum of weights: nginx's hash KEY (source hash, too) and ip_hash."""

import socket
from abc import abstractmethod
from binascii import crc32
from collections.abc import Iterator, Mapping
from itertools import count, islice

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer, SettingsT
from nginy.balancer.draws import WeightTable
from nginy.balancer.hash_key import key_of, plain_host
from nginy.balancer.roster import Eligible, Tried
from nginy.balancer.round_robin import MAX_MISSES, SmoothRobin
from nginy.config.strategies import HashKey, HashSettings, IpHashSettings, SourceHashSettings

VALUES = 6271
START = 89
FACTOR = 113


class ModuloHash(Balancer[SettingsT]):
    """Members lie end to end by weight; a client's hash modulo the sum of weights falls into one.

    A client whose choice is unavailable hashes on, so that the clients of that backend alone move,
    and spread over the others; the 21st miss falls back to a step of smooth round robin (not
    sticky). Unavailable and drained backends keep their place, as in nginx; slow start changes
    nothing (keys would move away and back again). A changed weight, as well as a removed backend,
    moves about 1 - 1/n of all keys.
    Cost: O(log n) per step, one step unless the choice is unavailable; O(n) once after a weight
    has changed.
    """

    def prepare(self) -> None:
        """All members by weight, and the fallback."""
        self._table = self.roster.followed_by(WeightTable(self.roster, _place_weight))
        self._smooth = self.roster.followed_by(SmoothRobin(self.roster))

    @abstractmethod
    def hashes(self, client: Address) -> Iterator[int]:
        """The client's hash, and endlessly what it is after 1, 2, ... misses."""

    @abstractmethod
    def key_text(self, client: Address) -> str:
        """What is hashed, to read."""

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The backend of the client's hash."""
        if len(self.roster.members) > 1:
            table = self._table
            total = table.total
            misses = 0
            # The walk starts anew for each attempt: earlier choices of this connection come up
            # again, and the first time are not misses.
            earlier = list(tried)
            for value in self.hashes(client):
                backend = table.at(value % total)
                if backend in eligible:
                    return backend
                if backend in earlier:
                    earlier.remove(backend)
                    continue
                misses += 1
                if misses > MAX_MISSES:
                    break
        return self._smooth.step(now, tried)

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """The points of each."""
        total = self._table.total if self.roster.members else 0
        scores = {}
        for backend in self.roster.in_order():
            start, end = self._table.interval(backend)
            scores[backend] = f"points {start} to {end - 1} of {total}"
        return scores

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Which point the hash is, and who was passed over."""
        if len(self.roster.members) == 1:
            return "it is the only one"
        total = self._table.total
        points = [value % total for value in islice(self.hashes(client), MAX_MISSES + 1)]
        owners = [self._table.at(point) for point in points]
        if chosen not in owners:
            return f"{MAX_MISSES + 1} hashes in a row fell on others, so round robin decided"
        steps = owners.index(chosen)
        said = f"the hash of {self.key_text(client)} falls on point {points[0]} of {total}"
        if not steps:
            return f"{said}, which is {chosen.id}"
        passed = ", ".join(dict.fromkeys(owner.id for owner in owners[:steps]))
        return f"{said}; {passed} passed over, and step {steps} falls on {chosen.id}"


class SourceHash(ModuloHash[SourceHashSettings | HashSettings]):
    """A key always goes to the same backend, as long as the membership stays.

    The hash is the sum of (crc32(text) >> 16) & 0x7fff, text being the key, and for the k-th
    step after a miss the decimal k before it. There are 32768 values at the first step, so shares
    are off by up to one part in 32768 / sum of weights. Weights, unavailable choices: `ModuloHash`.
    Cost: O(log n) per step of the walk, one step unless the choice is unavailable.
    Source: ngx_stream_upstream_hash_module.c (nginx 1.22.1).
    """

    @property
    def key(self) -> HashKey:
        """What of a client is hashed."""
        return self.settings.key if isinstance(self.settings, HashSettings) else "address"

    def hashes(self, client: Address) -> Iterator[int]:
        """Sums of CRCs."""
        key = key_of(client, self.key)
        total = (crc32(key) >> 16) & 0x7FFF
        yield total
        for step in count(1):
            total += (crc32(b"%d%s" % (step, key)) >> 16) & 0x7FFF
            yield total

    def key_text(self, client: Address) -> str:
        """The key."""
        return key_of(client, self.key).decode()


class IpHash(ModuloHash[IpHashSettings]):
    """All clients of one IPv4 /24, and each IPv6 client, always go to the same backend.

    h = 89, then h = (113 h + b) mod 6271 for each byte b of the key: the first three octets of an
    IPv4 address, all 16 of an IPv6 one; after a miss the same bytes are hashed on from h. With
    only 6271 values, sums of weights in the hundreds are visibly uneven, and beyond 6271 some
    backends get nobody. Weights, unavailable choices: `ModuloHash`.
    Cost: O(log n) per step of the walk, one step unless the choice is unavailable.
    Source: ngx_http_upstream_ip_hash_module.c (nginx 1.22.1).
    """

    def hashes(self, client: Address) -> Iterator[int]:
        """The polynomial hash, run over the key again and again."""
        key = _octets(client.host)
        value = START
        while True:
            for byte in key:
                value = (FACTOR * value + byte) % VALUES
            yield value

    def key_text(self, client: Address) -> str:
        """The bytes that are hashed, as an address."""
        key = _octets(client.host)
        return f"{key[0]}.{key[1]}.{key[2]}.0/24" if len(key) == 3 else client.host


def _octets(host: str) -> bytes:
    """3 bytes of an IPv4 address (an IPv4-mapped one, too), 16 of an IPv6 one."""
    host = plain_host(host)
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return socket.inet_aton(host)[:3]


def _place_weight(backend: Backend) -> int:
    """Neither slow start nor draining changes it."""
    return backend.place_weight
