"""Ketama: nginx's hash KEY consistent, key for key."""

import random
from binascii import crc32
from collections.abc import Collection, Mapping, Sequence

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.bounded import LoadBound
from nginy.balancer.hash_key import key_of
from nginy.balancer.ketama_ring import KetamaRing
from nginy.balancer.roster import RosterPolicy
from nginy.balancer.weighted import MAX_MISSES, WeightedBalancer
from nginy.config.strategies import KetamaSettings


class Ketama(WeightedBalancer[KetamaSettings]):
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
    12 us. The ring, 8 bytes per point, is built in O(160 W log(160 W)) with the membership (about
    1 us per point), and again at the first pick after a weight has changed.
    Source: ngx_stream_upstream_hash_module.c (nginx 1.22.1); the points are those of Perl's
    Cache::Memcached::Fast.
    """

    def __init__(
        self,
        settings: KetamaSettings,
        rng: random.Random,
        policy: RosterPolicy = RosterPolicy(),  # noqa: B008  (frozen)
    ) -> None:
        """No members until `rebuild`."""
        super().__init__(settings, rng, policy)
        factor = settings.load_factor
        self._bound = None if factor is None else LoadBound(factor, self.roster)
        self._ring = KetamaRing()
        self._stale = False

    def rebuild(self, backends: Sequence[Backend], now: float) -> None:
        """Take a new membership and build the ring."""
        super().rebuild(backends, now)
        if self._bound is not None:
            self._bound.rebuild()
        self._ring.rebuild(self.roster.members)
        self._stale = False

    def joined(self, backend: Backend, now: float) -> None:
        """Its share of the load counts again."""
        super().joined(backend, now)
        if self._bound is not None:
            self._bound.joined(backend)

    def left(self, backend: Backend, now: float) -> None:
        """Its share of the load is the others' now."""
        super().left(backend, now)
        if self._bound is not None:
            self._bound.left(backend)

    def reweighed(self, backend: Backend, now: float) -> None:
        """Other points, if it is more than slow start or draining."""
        super().reweighed(backend, now)
        if self._bound is not None:
            self._bound.reweighed()
        if self._ring.weight_of(backend) != backend.place_weight:
            self._stale = True

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The backend of the client's first good point."""
        usable = self.roster.usable
        if not usable or (avoid and usable.issubset(avoid)):
            return None
        if len(self.roster.members) > 1:
            ring = self._ring
            if self._stale:
                ring.rebuild(self.roster.members)
                self._stale = False
            place = ring.place(crc32(key_of(client, self.settings.key)))
            count = len(ring.points)
            for point in range(place, place + (count if self._bound else MAX_MISSES + 1)):
                owners = ring.owners(point % count)
                if len(owners) == 1:
                    if self._good(owners[0], avoid):
                        return self._recovering(owners[0], now)
                elif good := [backend for backend in owners if self._good(backend, avoid)]:
                    return self.step_among(good, now)
        return self.pick_smooth(now, avoid)

    def _good(self, backend: Backend, avoid: Collection[Backend]) -> bool:
        return (
            backend in self.roster.usable
            and backend not in avoid
            and (self._bound is None or self._bound.admits(backend))
        )

    def _recovering(self, backend: Backend, now: float) -> Backend:
        """`backend`; if it was punished, nginx lets it recover a little by a step of its own."""
        if self._group.recovering:
            self.step_among([backend], now)
        return backend

    def scores(self, client: Address, now: float) -> Mapping[Backend, str]:
        """Points on the ring, and how much of its bound is used."""
        return {backend: self._score(backend) for backend in self.usable()}

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
        place, count = self._ring.place(crc32(key)), len(self._ring.points)
        for steps in range(count if self._bound else MAX_MISSES + 1):
            owners = self._ring.owners((place + steps) % count)
            if chosen in owners:
                said = f"the CRC of {key.decode()} is {crc32(key):08x}, and point {steps + 1} from"
                who = f"; passed over: {', '.join(passed)}" if passed else ""
                return f"{said} there is of {chosen.id}{who}"
            passed |= dict.fromkeys(backend.id for backend in owners)
        return f"{MAX_MISSES + 1} points in a row are of others, so round robin decided"
