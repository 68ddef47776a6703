"""The points of nginx's consistent hash."""

from array import array
from binascii import crc32
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from nginy.backend.backend import Backend

POINTS_PER_WEIGHT = 160
MOST_INDEX_BITS = 16


class KetamaRing:
    """Points, ascending, and whose they are; 8 bytes per point.

    The name HOST:PORT, as it is written in the configuration, gives the text HOST, zero byte, PORT.
    A point is the CRC of this text followed by the point before it as 4 bytes, little-endian (first
    0). Of equal points only the first backend's stays.
    Source: ngx_stream_upstream_update_chash (nginx 1.22.1).
    """

    def __init__(self) -> None:
        """No points until `rebuild`."""
        self.points = array("I")
        self._names = array("I")
        self._low_bits = 32
        self._index = array("I", [0, 0])
        """Where the points begin with these leading bits, so that few are left to be searched."""
        self._members: list[list[Backend]] = []
        self._weights: dict[Backend, int] = {}

    def rebuild(self, members: Sequence[Backend]) -> None:
        """Lay out `members` by `hash_name` and `place_weight`."""
        self._weights = {backend: backend.place_weight for backend in members}
        by_name: dict[str, list[Backend]] = {}
        for backend in members:
            by_name.setdefault(backend.hash_name, []).append(backend)
        self._members = list(by_name.values())
        placed = [
            point << 32 | number
            for number, (name, backends) in enumerate(by_name.items())
            for point in points_of(name, max(map(self.weight_of, backends)))
        ]
        placed.sort()
        self.points, self._names = array("I"), array("I")
        last = -1
        for value in placed:
            point = value >> 32
            if point != last:
                self.points.append(point)
                self._names.append(value & 0xFFFFFFFF)
                last = point
        bits = min(MOST_INDEX_BITS, len(self.points).bit_length())
        self._low_bits = 32 - bits
        starts = (bisect_left(self.points, i << self._low_bits) for i in range(1 << bits))
        self._index = array("I", [*starts, len(self.points)])

    def place(self, value: int) -> int:
        """Of the first of `points` not below `value` (32 bits); their count if there is none."""
        leading = value >> self._low_bits
        return bisect_left(self.points, value, self._index[leading], self._index[leading + 1])

    def weight_of(self, backend: Backend) -> int:
        """The weight that it was laid out with; 0 for a stranger."""
        return self._weights.get(backend, 0)

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
