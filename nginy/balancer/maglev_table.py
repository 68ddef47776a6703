"""The table of Maglev hashing, from its permutations.

Sources: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016),
section 3.4; turns by weight as in Envoy's maglev_lb.cc.
"""

from array import array
from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace

FREE = 0xFFFFFFFF
"""Marks a slot nobody has taken."""


def fill_table(
    size: int, offsets: Sequence[int], skips: Sequence[int], weights: Sequence[int]
) -> "array[int]":
    """The owner's index for each of `size` slots; `size` is a prime, weights are at least 1.

    In its turn backend i takes the first free slot of its permutation offset + j skip (mod size),
    j = 0, 1, 2, ... Cost: O(size log size) on average.
    """
    table = array("I", [FREE]) * size
    slots = list(offsets)
    for owner in turns(weights, size):
        slot, skip = slots[owner], skips[owner]
        while table[slot] != FREE:
            slot += skip
            if slot >= size:
                slot -= size
        table[slot] = owner
        slots[owner] = slot
    return table


def turns(weights: Sequence[int], count: int) -> Iterator[int]:
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
