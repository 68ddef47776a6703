"""Ketama: nginx's hash KEY consistent, key for key."""

from array import array
from binascii import crc32
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.base import Balancer
from nginy.balancer.bounded import load_bound
from nginy.balancer.hash_key import key_of
from nginy.balancer.renewal import STEP, Later, Renewal, Slices, sorted_pieces
from nginy.balancer.roster import Eligible, Follower, Tried
from nginy.balancer.round_robin import MAX_MISSES, SmoothRobin
from nginy.config.strategies import KetamaSettings

POINTS_PER_WEIGHT = 160
MOST_INDEX_BITS = 16


class Ketama(Balancer[KetamaSettings]):
    """A key goes to the backend of the first point on the ring that is not below its CRC.

    A backend has 160 points per weight (`KetamaRing`). A key whose backend is unavailable goes on
    to the next points, so that only the keys of that backend move, and only they come back; the
    21st miss falls back to a step of smooth round robin (not sticky). Unavailable and drained
    backends keep their points; slow start does not move points (keys would move twice). Backends
    of one `hash_name` share its points, and take turns by smooth round robin. So nginx treats the
    addresses of a host name; here each address has points of its own, and keys of such a backend
    move once when they move here from nginx.

    With `load_factor`, points are passed over, however many, until a backend is usable and
    within its `LoadBound`; nginx has no such option.

    Cost: O(log(160 W)) per pick, 2 to 3 us at 10 000 backends. With `load_factor`,
    members/(those with room) points besides, each about 1.5 us at 10 000 backends, where no cache
    holds them all: with 1.25 and one connection per backend, of 1 000 clients, 5 to 8 points, 8 to
    12 us. The ring, 8 bytes per point, is built in O(160 W log(160 W)) with the first membership
    (about 1 us per point), and again, in steps, from the first pick on after weights or members
    have changed; until it is ready, the one before serves.
    Source: ngx_stream_upstream_hash_module.c (nginx 1.22.1); the points are those of Perl's
    Cache::Memcached::Fast.
    """

    def prepare(self) -> None:
        """The ring, the bound and the fallback."""
        self._ring = self.roster.followed_by(KetamaRing())
        self._smooth = self.roster.followed_by(SmoothRobin(self.roster))
        self._bound = load_bound(self.settings.load_factor, self.roster)

    def work_later(self, later: Later) -> None:
        """Rings for other weights and members."""
        self._ring.renewal.later = later

    def choose(self, client: Address, now: float, eligible: Eligible, tried: Tried) -> Backend:
        """The backend of the client's first good point."""
        if len(self.roster.members) > 1:
            ring = self._ring
            place = ring.place(crc32(key_of(client, self.settings.key)), now)
            count = len(ring.points)
            for point in range(place, place + (count if self._bound else MAX_MISSES + 1)):
                owners = ring.owners(point % count)
                if len(owners) == 1:
                    if self._good(owners[0], eligible):
                        return self._recovering(owners[0])
                elif good := [backend for backend in owners if self._good(backend, eligible)]:
                    return self._smooth.step_among(good)
        return self._smooth.step(now, tried)

    def _good(self, backend: Backend, eligible: Eligible) -> bool:
        return backend in eligible and (self._bound is None or self._bound.admits(backend))

    def _recovering(self, backend: Backend) -> Backend:
        """`backend`; if it was punished, nginx lets it recover a little by a step of its own."""
        if self._smooth.group.recovering:
            self._smooth.step_among([backend])
        return backend

    def scores(self, client: Address | None, now: float) -> Mapping[Backend, str]:
        """Points on the ring, and how much of its bound is used."""
        return {backend: self._score(backend) for backend in self.roster.in_order()}

    def _score(self, backend: Backend) -> str:
        said = f"{160 * backend.place_weight} points"
        if self._bound is None:
            return said
        return f"{said}, {backend.active} of {self._bound.slots(backend)} slots taken"

    def reason(self, client: Address, chosen: Backend, now: float) -> str:
        """Where the key falls, and who was passed over."""
        if len(self.roster.members) == 1:
            return "it is the only one"
        key = key_of(client, self.settings.key)
        passed: dict[str, None] = {}
        place, count = self._ring.place(crc32(key), now), len(self._ring.points)
        for steps in range(count if self._bound else MAX_MISSES + 1):
            owners = self._ring.owners((place + steps) % count)
            if chosen in owners:
                said = f"the CRC of {key.decode()} is {crc32(key):08x}, and point {steps + 1} from"
                who = f"; passed over: {', '.join(passed)}" if passed else ""
                return f"{said} there is of {chosen.id}{who}"
            passed |= dict.fromkeys(backend.id for backend in owners)
        return f"{MAX_MISSES + 1} points in a row are of others, so round robin decided"


class _Points:
    """Points, ascending, and the numbers of the names they are of; 8 bytes per point.

    The name HOST:PORT, as it is written in the configuration, gives the text HOST, zero byte, PORT.
    A point is the CRC of this text followed by the point before it as 4 bytes, little-endian (first
    0). Of equal points only the first backend's stays.
    Source: ngx_stream_upstream_update_chash (nginx 1.22.1).
    """

    def __init__(self) -> None:
        """None yet."""
        self.points, self.names = array("I"), array("I")
        self.low_bits = 32
        self.index = array("I", [0, 0])
        """Where the points begin with these leading bits, so that few are left to be searched."""

    @classmethod
    def slices(cls, weights: Mapping[str, int]) -> "Slices[_Points]":
        """The making of those of names by their weights, in this order."""
        made = cls()
        placed = (
            point << 32 | number
            for number, (name, weight) in enumerate(weights.items())
            for point in points_of(name, weight)
        )
        last = -1
        for piece in sorted_pieces(placed, 32 + 32):
            for value in piece:
                point = value >> 32
                if point != last:
                    made.points.append(point)
                    made.names.append(value & 0xFFFFFFFF)
                    last = point
            yield
        yield from made._make_index()
        return made

    def _make_index(self) -> Iterator[None]:
        bits = min(MOST_INDEX_BITS, len(self.points).bit_length())
        self.low_bits = 32 - bits
        self.index = array("I")
        for leading in range(1 << bits):
            self.index.append(bisect_left(self.points, leading << self.low_bits))
            if not leading % STEP:
                yield
        self.index.append(len(self.points))


_laid_out: WeakValueDictionary[tuple[tuple[str, int], ...], _Points] = WeakValueDictionary()
"""In use, by names and weights: 300 rules for the same 1000 backends took half a minute."""


def _points_for(weights: Mapping[str, int]) -> Slices[_Points]:
    """Shared by all rings of the same names and weights; nobody changes them."""
    key = tuple(weights.items())
    points = _laid_out.get(key)
    if points is None:
        points = _laid_out[key] = yield from _Points.slices(weights)
    return points


class _LaidOut(NamedTuple):
    """Points, and the backends of each name's number."""

    points: _Points
    members: Sequence[Sequence[Backend]]


class KetamaRing(Follower):
    """Whose the points are."""

    def __init__(self) -> None:
        """No points yet."""
        self._of: Sequence[Backend] = ()
        self._weights: dict[Backend, int] = {}
        """Those laid out, or being laid out."""
        self._outdated = False
        """Weights or members are others than those: seen to at the next `place`."""
        self.renewal = Renewal(self._lay_out, self._use)
        self._use(_LaidOut(_Points(), ()))

    def _use(self, laid_out: _LaidOut) -> None:
        self._laid_out, self._members = laid_out
        # A pick reads these: one attribute less each.
        self.points, self._names = self._laid_out.points, self._laid_out.names
        self._low_bits, self._index = self._laid_out.low_bits, self._laid_out.index

    def members_changed(self, members: Sequence[Backend], now: float) -> None:
        """Lay out `members` by `hash_name` and `place_weight`: at once, if none is laid out."""
        self._of = members
        weights = self._weights
        self._weights = {who: weights[who] for who in members if who in weights}
        if self._weights:
            self._outdated = True
        else:
            self.renewal.at_once(now)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Other points, if it is more than slow start or draining."""
        if self._weights.get(backend) != backend.place_weight:
            self._outdated = True

    def _lay_out(self, now: float) -> Slices[_LaidOut]:
        self._outdated = False
        self._weights = weights = {backend: backend.place_weight for backend in self._of}
        yield
        by_name: dict[str, list[Backend]] = {}
        for backend in self._of:
            by_name.setdefault(backend.hash_name, []).append(backend)
        yield
        heaviest = {
            name: max(weights[backend] for backend in backends)
            for name, backends in by_name.items()
        }
        yield
        points = yield from _points_for(heaviest)
        return _LaidOut(points, list(by_name.values()))

    def place(self, value: int, now: float) -> int:
        """Of the first of `points` not below `value` (32 bits); their count if there is none."""
        if self._outdated:
            self.renewal.soon(now)
        leading = value >> self._low_bits
        return bisect_left(self.points, value, self._index[leading], self._index[leading + 1])

    def owners(self, place: int) -> Sequence[Backend]:
        """Who has the point at `place` of `points`: the backends of one name."""
        return self._members[self._names[place]]


def points_of(name: str, weight: int) -> Iterator[int]:
    """The points of a backend of that name, in the order in which they are made."""
    base = crc32(name_text(name))
    point = 0
    for _ in range(POINTS_PER_WEIGHT * weight):
        point = crc32(point.to_bytes(4, "little"), base)
        yield point


def name_text(name: str) -> bytes:
    """The text that all points of a name begin with."""
    if name[:5].lower() == "unix:":
        return name[5:].encode() + b"\0"
    host, colon, port = name.rpartition(":")
    if colon and (not port or (port.isascii() and port.isdigit())):
        return host.encode() + b"\0" + port.encode()
    return name.encode() + b"\0"
