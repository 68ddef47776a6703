"""Source hash: nginx's hash $remote_addr."""

from binascii import crc32
from collections.abc import Collection

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.weighted import MAX_MISSES, WeightedBalancer
from nginy.config.strategies import SourceHashSettings


class SourceHash(WeightedBalancer[SourceHashSettings]):
    """A client address always goes to the same backend, as long as the membership stays.

    The point acc mod W falls into the backends laid end to end by weight; acc sums
    (crc32(text) >> 16) & 0x7fff, text being the address, and for the k-th step after a miss the
    decimal k before it. So the clients of an unavailable backend alone move, and spread over the
    others; removing a backend moves about 1 - 1/n of all. The 21st miss falls back to a step of
    smooth round robin (not sticky). Unavailable backends keep their place, as in nginx.
    Cost: O(log n) per step, one step unless the choice is unavailable.
    Source: ngx_stream_upstream_hash_module.c (nginx 1.22.1).
    """

    def choose(self, client: Address, now: float, avoid: Collection[Backend]) -> Backend | None:
        """The backend of the client's address."""
        if len(self.members) > 1:
            key = hash_key(client.host)
            point = step = misses = 0
            # The walk starts anew for each attempt: earlier choices of this connection, in
            # `avoid`, come up again, and the first time are not misses.
            earlier = list(avoid)
            while misses <= MAX_MISSES:
                text = key if step == 0 else b"%d%s" % (step, key)
                point += (crc32(text) >> 16) & 0x7FFF
                backend = self.member_at(point % self.total_weight)
                if self.can_use(backend, avoid):
                    return backend
                step += 1
                if backend in earlier:
                    earlier.remove(backend)
                else:
                    misses += 1
        return self.pick_smooth(avoid)


def hash_key(host: str) -> bytes:
    """The text that is hashed for a client at `host`.

    The kernel's text form of an address is nginx's (RFC 5952). An IPv4-mapped IPv6 address is
    hashed as the IPv4 address it stands for, so that a client keeps its backend whether it came
    through an IPv4 or a dual-stack listener; nginx would hash `::ffff:` along.
    """
    return host.removeprefix("::ffff:").encode() if "." in host else host.encode()
