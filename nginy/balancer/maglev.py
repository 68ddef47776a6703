"""Maglev hashing."""

from array import array
from collections.abc import Iterator, Sequence, Set
from heapq import heapify, heapreplace

from xxhash import xxh64_intdigest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.consistent import ConsistentHash
from nginy.balancer.hash_key import key_of
from nginy.balancer.renewal import STEP, Slices
from nginy.config.strategies import MaglevSettings

TRIES = 64
"""Slots looked at before the members are tried one after the other: while half of the table is
usable, one key in 2**64 gets there."""
FREE = 0xFFFFFFFF
"""Marks a slot nobody has taken."""


class Maglev(ConsistentHash[MaglevSettings, bytes]):
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

    def slices(self, members: Sequence[Backend], now: float) -> "Slices[MaglevTable]":
        """O(table_size log table_size) on average."""
        return MaglevTable.slices(members, self.settings.table_size)

    def hashed(self, client: Address) -> bytes:
        """The key itself, which may be hashed more than once."""
        return key_of(client, self.settings.key)

    def place(self, client: Address) -> str:
        """The key's slot."""
        key = self.hashed(client)
        hashed = xxh64_intdigest(key)
        slot = hashed % self.settings.table_size
        return f"key {key.decode()} hashes to {hashed:#018x}, slot {slot} is of"


class MaglevTable:
    """Slots that members own; the order of the configuration plays no part."""

    def __init__(self, ranked: Sequence[Backend], slots: "array[int]") -> None:
        """The members by name, and for each slot its owner's place among them."""
        self.ranked = ranked
        self.slots = slots

    @classmethod
    def slices(cls, members: Sequence[Backend], size: int) -> "Slices[MaglevTable]":
        """The making of one of `size` slots, a prime."""
        ranked = tuple(sorted(members, key=lambda backend: backend.hash_name))
        weights = [backend.place_weight for backend in ranked]
        yield
        names = [backend.hash_name.encode() for backend in ranked]
        yield
        offsets = [xxh64_intdigest(name) % size for name in names]
        yield
        skips = [xxh64_intdigest(name, 1) % (size - 1) + 1 for name in names]
        yield
        slots = yield from fill_table(size, offsets, skips, weights)
        return cls(ranked, slots)

    def owner(self, key: bytes, usable: Set[Backend]) -> Backend:
        """Of the slot, usable or not."""
        return self.ranked[self.slots[xxh64_intdigest(key) % len(self.slots)]]

    def walk(self, key: bytes, usable: Set[Backend]) -> Iterator[Backend]:
        """The slot's owner, those of the next slots, then everybody."""
        ranked, slots = self.ranked, self.slots
        size, count = len(slots), len(ranked)
        for seed in range(TRIES):
            yield ranked[slots[xxh64_intdigest(key, seed) % size]]
        start = xxh64_intdigest(key) % count
        for rank in range(start, start + count):
            yield ranked[rank % count]


def fill_table(
    size: int, offsets: Sequence[int], skips: Sequence[int], weights: Sequence[int]
) -> "Slices[array[int]]":
    """The making of the owner's index for each of `size` slots, a prime; weights are at least 1.

    In its turn backend i takes the first free slot of its permutation offset + j skip (mod size),
    j = 0, 1, 2, ... Cost: O(size log size) on average.
    """
    table = array("I", [FREE]) * size
    slots = list(offsets)
    tries = 0
    for count, owner in enumerate(rounds(weights, size), 1):
        slot, skip = slots[owner], skips[owner]
        while table[slot] != FREE:
            slot += skip
            if slot >= size:
                slot -= size
            tries += 1
            if not tries % (4 * STEP):  # the last free slots are long looked for
                yield
        table[slot] = owner
        slots[owner] = slot
        if not count % STEP:
            yield
    return table


def rounds(weights: Sequence[int], count: int) -> Iterator[int]:
    """Whose turn it is, `count` times.

    In round t = 1, 2, ... backend i, which has had k turns, has another if t w_i >= k w_max: the
    heaviest is in every round, one of a third of its weight in every third. Envoy computes this in
    doubles, here it is in integers, and rounds without a turn cost nothing.
    """
    heaviest = max(weights)
    taken = [0] * len(weights)
    due = [(1, owner) for owner in range(len(weights))]
    heapify(due)
    for _ in range(count):
        turn, owner = due[0]
        yield owner
        taken[owner] += 1
        earliest = -(-taken[owner] * heaviest // weights[owner])
        heapreplace(due, (max(turn + 1, earliest), owner))
