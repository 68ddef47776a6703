"""Maglev hashing."""

from array import array
from collections.abc import Iterator, Sequence

from xxhash import xxh64_intdigest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.consistent import ConsistentBalancer
from nginy.balancer.hash_key import key_of
from nginy.balancer.maglev_table import fill_table
from nginy.config.strategies import MaglevSettings

TRIES = 64
"""Slots looked at before the members are tried one after the other: while half of the table is
usable, one key in 2**64 gets there."""


class Maglev(ConsistentBalancer[MaglevSettings]):
    """The owner of slot xxHash64(key) mod table_size, in a table the backends fill in turn.

    Unavailable choice: the key is hashed again with seed 1, 2, ..., up to 64 slots in all, then the
    members are gone through from the place the hash says. So the keys of a backend that is away
    spread over the others by weight, every other key stays, and they come back with it.
    Weights: turns in proportion to weight; equal backends differ by one slot at most. Taking a
    backend out of the list moves its keys and few others (0.2 % of all for 10 backends in 65537
    slots, 0.6 % for 1000). Backends beyond table_size would own no slot.
    Cost: O(1) per slot looked at, on average members/usable of them, under 1 us at 10 000 backends.
    With `load_factor`, members/(those with room) of them, each about 1.5 us at 10 000 backends,
    where no cache holds them all: with 1.25 and one connection per backend, of 1 000 clients, 5 to
    8 slots, 7 to 12 us. Making a table takes about 0.1 s for 65537 slots, 2 s for a million.
    Sources: Eisenbud et al., NSDI 2016; offset xxHash64(name), skip xxHash64(name, seed 1) and
    weights as in maglev_lb.cc of Envoy, which rebuilds the table without the unhealthy ones.
    """

    _table: "array[int]"
    _ranked: tuple[Backend, ...]

    def build(self, members: Sequence[Backend], now: float) -> None:
        """O(table_size log table_size) on average; the order of the configuration plays no part."""
        size = self.settings.table_size
        self._ranked = tuple(sorted(members, key=lambda backend: backend.hash_name))
        names = [backend.hash_name.encode() for backend in self._ranked]
        self._table = fill_table(
            size,
            [xxh64_intdigest(name) % size for name in names],
            [xxh64_intdigest(name, 1) % (size - 1) + 1 for name in names],
            [backend.place_weight for backend in self._ranked],
        )

    def owner(self, client: Address) -> Backend:
        """Of the slot."""
        hashed = xxh64_intdigest(key_of(client, self.settings.key))
        return self._ranked[self._table[hashed % len(self._table)]]

    def walk(self, client: Address) -> Iterator[Backend]:
        """The slot's owner, those of the next slots, then everybody."""
        key = key_of(client, self.settings.key)
        ranked, table = self._ranked, self._table
        size, count = len(table), len(ranked)
        for seed in range(TRIES):
            yield ranked[table[xxh64_intdigest(key, seed) % size]]
        start = xxh64_intdigest(key) % count
        for rank in range(start, start + count):
            yield ranked[rank % count]

    def place(self, client: Address) -> str:
        """The key's slot."""
        key = key_of(client, self.settings.key)
        hashed = xxh64_intdigest(key)
        slot = hashed % len(self._table)
        return f"key {key.decode()} hashes to {hashed:#018x}, slot {slot} is of"
