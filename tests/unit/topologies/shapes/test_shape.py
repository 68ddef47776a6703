import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.shapes.shape import METERS, SUBNET, Host, Link, LinkSpec, Shape
from topologies.shapes.star import star


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": math.nan}, "delay_ms"),
        ({"jitter_ms": 1}, "jitter_ms"),
        ({"delay_ms": 5, "jitter_ms": 5.1}, "jitter_ms"),
        ({"loss_pct": -0.1}, "loss_pct"),
        ({"loss_pct": 100.1}, "loss_pct"),
        ({"rate_mbps": 0}, "rate_mbps"),
        ({"rate_mbps": math.inf}, "rate_mbps"),
    ],
)
def test_link_values_out_of_range_are_refused_by_name(values, names):
    with pytest.raises(ValueError, match=names):
        LinkSpec(**values)


def test_link_values_at_the_edges_are_accepted():
    assert LinkSpec(delay_ms=5, jitter_ms=5, loss_pct=100, rate_mbps=0.001).impaired
    assert not LinkSpec(rate_mbps=10).impaired


@pytest.mark.parametrize("name", ["", "C1", "c-1", "1c", "abcdefghij"])
def test_a_name_that_makes_no_interface_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        Host(name, "client", "10.0.1.1")


@pytest.mark.parametrize("address", ["192.168.0.1", "10.0.255.1", "10.0.0.0", "nonsense"])
def test_an_unusable_address_is_refused(address):
    with pytest.raises(ValueError, match=r"10\.0|nonsense"):
        Host("c1", "client", address)


def _shape(**changes):
    parts = {
        "name": "two",
        "hosts": (Host("c1", "client", "10.0.1.1"), Host("lb", "balancer", "10.0.0.1")),
        "switches": ("s1",),
        "links": (Link("c1", "s1", LinkSpec()), Link("lb", "s1", LinkSpec())),
    }
    return Shape(**(parts | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"switches": ("c1",)}, "name used twice: c1"),
        ({"switches": ("s1", "Bad name")}, "switch name"),
        ({"links": (Link("c1", "s1", LinkSpec()), Link("lb", "s2", LinkSpec()))}, "s2"),
        ({"links": (Link("c1", "s1", LinkSpec()),)}, "exactly one link"),
        ({"links": (Link("c1", "s1", LinkSpec()), Link("zz", "s1", LinkSpec()))}, "known host"),
        (
            {"hosts": (Host("c1", "client", "10.0.1.1"), Host("lb", "balancer", "10.0.1.1"))},
            "address used twice",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _shape(**changes)


def test_links_and_directions_have_the_names_that_messages_use():
    link = _shape().link_of("c1")
    assert link.name == "c1-s1"
    assert link.directions == ("c1->s1", "s1->c1")
    with pytest.raises(KeyError):
        _shape().link_of("c9")


@given(clients=st.integers(1, 250), backends=st.integers(1, 250))
def test_every_star_is_a_sound_shape(clients, backends):
    shape = star(clients, backends, client_link=LinkSpec(delay_ms=1))
    assert [len(shape.with_role(role)) for role in ("client", "balancer", "backend")] == [
        clients,
        1,
        backends,
    ]
    assert shape.host(f"c{clients}").role == "client"
    assert shape.host(f"b{backends}").role == "backend"
    assert shape.link_of("c1").spec.delay_ms == 1
    assert shape.link_of("lb").spec == LinkSpec()
    assert len({host.address for host in shape.hosts}) == clients + backends + 1


@pytest.mark.parametrize(("clients", "backends"), [(0, 1), (1, 0), (251, 1)])
def test_a_star_of_impossible_size_is_refused(clients, backends):
    with pytest.raises(ValueError, match="expected 1 to 250"):
        star(clients, backends)


def test_the_meters_have_room_in_the_subnet():
    assert METERS.subnet_of(SUBNET)
