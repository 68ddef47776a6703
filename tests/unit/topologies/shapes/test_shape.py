import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.shapes.shape import METERS, SUBNET, Host, Link, LinkSpec, Shape
from topologies.shapes.shapes import dumbbell, leaf_spine, star, two_sites


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
        "links": (Link.of("c1", "s1", LinkSpec()), Link.of("lb", "s1", LinkSpec())),
    }
    return Shape(**(parts | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"switches": ("c1",)}, "name used twice: c1"),
        ({"switches": ("s1", "Bad name")}, "switch name"),
        ({"links": (Link.of("c1", "s1", LinkSpec()), Link.of("lb", "s2", LinkSpec()))}, "s2"),
        ({"links": (Link.of("c1", "s1", LinkSpec()),)}, "exactly one link"),
        (
            {"links": (Link.of("c1", "s1", LinkSpec()), Link.of("zz", "s1", LinkSpec()))},
            "known host",
        ),
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
    assert {spec.delay_ms for spec in shape.link_of("c1").specs.values()} == {1}
    assert set(shape.link_of("lb").specs.values()) == {LinkSpec()}
    assert len({host.address for host in shape.hosts}) == clients + backends + 1


@pytest.mark.parametrize(("clients", "backends"), [(0, 1), (1, 0), (100_001, 1)])
def test_a_star_of_impossible_size_is_refused(clients, backends):
    with pytest.raises(ValueError, match="expected 1 to 100000"):
        star(clients, backends)


def test_the_meters_have_room_in_the_subnet():
    assert METERS.subnet_of(SUBNET)


SLOW, FAST = LinkSpec(delay_ms=20), LinkSpec(delay_ms=1)
NAMED = [
    star(3, 4, balancers=3, client_link=SLOW),
    dumbbell(3, 4, bottleneck=(SLOW, FAST)),
    two_sites(2, 5, 2, between_sites=SLOW),
    leaf_spine(3, 4, 2, 1),
    leaf_spine(4, 6, 3, 4, trunk=FAST),
]


@pytest.mark.parametrize("shape", NAMED, ids=lambda shape: f"{shape.name}-{len(shape.links)}")
def test_from_every_host_there_is_a_way_to_every_other_over_links_that_exist(shape):
    names = [host.name for host in shape.hosts]
    for source, destination in itertools.permutations(names, 2):
        edges = shape.way(source, destination)
        assert edges[0].startswith(f"{source}->")
        assert edges[-1].endswith(f"->{destination}")
        assert all(edge in shape.specs for edge in edges)
        assert all(a.split("->")[1] == b.split("->")[0] for a, b in itertools.pairwise(edges))
        assert len(set(edges)) == len(edges), "no circle"


def test_ten_thousand_backends_have_addresses_of_their_own():
    shape = star(3, 10_000)
    assert len({host.address for host in shape.hosts}) == 10_004
    assert shape.way("c1", "b10000") == ("c1->s1", "s1->b10000")


def test_the_bottleneck_is_on_every_way_between_clients_and_the_balancer():
    shape = NAMED[1]
    for client in shape.with_role("client"):
        assert SLOW in shape.specs_between(client.name, "lb")
        assert FAST in shape.specs_between("lb", client.name)
    assert shape.way("lb", "b1") == ("lb->s2", "s2->b1")


def test_far_backends_are_the_last_ones_and_beyond_the_link():
    shape = NAMED[2]
    beyond = [
        backend.name
        for backend in shape.with_role("backend")
        if "s1->s2" in shape.way("lb", backend.name)
    ]
    assert beyond == ["b4", "b5"]


def test_hosts_in_turn_go_by_all_spines():
    shape = NAMED[4]
    used = {following for following in shape.forwarding["leaf1"].values() if "spine" in following}
    assert used == {"spine1", "spine2", "spine3", "spine4"}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: two_sites(1, 2, 2, between_sites=SLOW), "far_backends is 2, expected 1 to 1"),
        (lambda: leaf_spine(1, 1, 1, 1), "leaves is 1, expected 2 to 9"),
        (lambda: star(1, 1, balancers=0), "balancers is 0"),
        (lambda: Shape("x", (), ("s1", "s2"), (Link("s1", "s1"),)), "joins a switch with itself"),
        (
            lambda: Shape(
                "x", (Host("a", "client", "10.0.1.1"),), ("s1", "s2"), (Link("a", "s1"),)
            ),
            "a cannot be reached from s2",
        ),
    ],
)
def test_a_shape_that_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"duplicate_pct": 101}, "duplicate_pct is 101, expected 0 to 100"),
        (
            {"duplicate_pct": 1, "loss_pct": 100},
            "duplicate_pct is 1 and loss_pct 100",
        ),
        (
            {"duplicate_pct": 1, "loss_pct": 5, "loss_burst_packets": 3},
            "duplicate_pct is 1 and loss_burst_packets is 3, expected one of the two",
        ),
        ({"loss_burst_packets": 3}, "of a loss_pct between 0 and 100"),
        ({"loss_pct": 60, "loss_burst_packets": 1}, "at most 50 %"),
        ({"reorder_pct": 5}, "needs a delay_ms"),
        ({"delay_ms": 5, "jitter_ms": 1, "reorder_pct": 5}, "no jitter_ms"),
        ({"queue_packets": 10}, "before a rate_mbps"),
    ],
)
def test_a_link_that_cannot_be_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        LinkSpec(**values)
