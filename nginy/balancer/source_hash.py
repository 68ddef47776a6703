"""Hash: nginx's hash KEY; with the client's address as the key, source hash."""

from binascii import crc32
from collections.abc import Iterator
from itertools import count

from nginy.address import Address
from nginy.balancer.hash_key import key_of
from nginy.balancer.modulo_hash import ModuloHash
from nginy.config.strategies import HashKey, HashSettings, SourceHashSettings


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
