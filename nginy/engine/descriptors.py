"""Descriptors that what clients do cannot take: for checks, agents, logs and the operator.

The kernel gives the lowest number that is free (open(2)), so a new descriptor's number says how
many are in use at least, and nobody needs to count.
"""

import os
import resource
from functools import cache

MOST_RESERVED = 64
ONE_IN = 32
"""Of few descriptors, so many are kept back: one of these."""


@cache
def first_reserved() -> int:
    """The first number that no connection and no pipe may have, by the limit that holds at the
    first call."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - min(MOST_RESERVED, limit // ONE_IN)


def try_descriptor(descriptor: int, first_reserved: int) -> bool:
    """Whether there is one left below `first_reserved`, by making a copy of `descriptor`: 0.3 us,
    of the 100 that a connection costs. Raises OSError if there is none at all."""
    number = os.dup(descriptor)
    os.close(number)
    return number < first_reserved
