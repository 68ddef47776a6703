"""Connections of the balancer to itself."""

import pytest

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.traffic.loops import NEW, Loops

BACKEND = Backend("b1", Address("10.0.0.1", 80))


@pytest.mark.parametrize(
    ("local", "backend", "own"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::1", "::1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_a_host_is_this_one_if_it_is_reached_from_itself(local, backend, own):
    loops, address = Loops([80]), Address(backend, 80)
    assert loops.possible(address)
    assert loops.opened(Address(local, 40_000), Backend("b1", address), "r", NEW) == own
    assert loops.possible(address) == own
    assert len(loops.ways) == own


def test_a_port_where_nothing_listens_leads_nowhere():
    assert not Loops([80]).possible(Address("127.0.0.1", 81))


def test_the_way_is_told_as_long_as_the_socket_is_open():
    loops = Loops([80])
    first, second = Address("10.0.0.1", 40_000), Address("10.0.0.1", 40_001)
    assert first not in loops.ways
    loops.opened(first, BACKEND, "r1", NEW)
    loops.opened(second, BACKEND, "r2", loops.ways[first])
    assert loops.ways[second] == ({"r1", "r2"}, BACKEND)
    loops.closed(second)
    assert second not in loops.ways
    assert loops.ways[first].rules == {"r1"}
