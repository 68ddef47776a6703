"""First: the first in order that is up and has room."""

import random

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.first import First
from nginy.config.strategies import FirstSettings

CLIENT = Address("192.0.2.1", 40000)


def make(count: int, room: int = 0) -> tuple[First, list[Backend]]:
    backends = [
        Backend(f"b{i}", Address("127.0.0.1", 1 + i), max_connections=room) for i in range(count)
    ]
    first = First(FirstSettings(), random.Random(0))
    first.rebuild(backends, 0.0)
    return first, backends


@given(
    script=st.lists(
        st.tuples(st.sampled_from(["open", "close", "toggle", "avoid", "drop"]), st.integers(0, 5)),
        max_size=60,
    )
)
def test_it_is_always_the_first_that_can_be_used(script: list[tuple[str, int]]) -> None:
    first, backends = make(6, room=2)
    members = backends
    for operation, number in script:
        backend = backends[number]
        if operation == "toggle":
            backend.set_healthy(not backend.healthy, 0.0)
        elif operation == "close" and backend.active:
            backend.released(0.0)
        elif operation == "drop":
            members = backends[:number] + backends[number + 1 :]
            first.rebuild(members, 0.0)
        avoid = [backend] if operation == "avoid" else []
        usable = [b for b in members if b.available(0.0) and b not in avoid]
        picked = first.pick(CLIENT, 0.0, avoid)
        assert picked is (usable[0] if usable else None)
        if operation == "open" and picked is not None:
            picked.opened(0.0)


def test_it_says_what_is_the_matter_with_the_one_before() -> None:
    first, backends = make(3, room=1)
    assert first.reason(CLIENT, backends[0], 0.0) == (
        "it is the first in the rule's order, and it has room"
    )
    backends[0].opened(0.0)
    assert first.reason(CLIENT, backends[1], 0.0).endswith("b0, before it, is full")
    assert first.scores(CLIENT, 0.0)[backends[1]] == "place 2, 0 connections of 1"
