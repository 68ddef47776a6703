"""Points on Envoy's ring, HAProxy's map of servers, and the nearest point on its ring."""

from itertools import pairwise
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.backend.backend import Backend
from nginy.balancer.renewal import finished
from nginy.balancer.ring_hash import point_counts
from nginy.balancer.source import NearestRing, full_avalanche, server_map

WEIGHTS = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def envoy_counts(weights: list[int], minimum: int, maximum: int) -> list[int]:
    """Point by point, while the running number is below the running target."""
    normalized = [weight / sum(weights) for weight in weights]
    scale = min(ceil(min(normalized) * minimum) / min(normalized), float(maximum))
    counts, current, target = [], 0.0, 0.0
    for part in normalized:
        target += scale * part
        counts.append(0)
        while current < target:
            counts[-1] += 1
            current += 1
    return counts


@given(weights=WEIGHTS, minimum=st.integers(1, 2000), maximum=st.integers(1, 2000))
def test_points_are_counted_as_envoy_counts_them(
    weights: list[int], minimum: int, maximum: int
) -> None:
    assert point_counts(weights, minimum, maximum) == envoy_counts(weights, minimum, maximum)


def test_five_equal_backends_have_205_points_each_by_default() -> None:
    assert point_counts([1] * 5, 1024, 8_388_608) == [205] * 5


def test_a_ring_of_at_most_so_many_points_stays_that_small() -> None:
    assert sum(point_counts([1, 1000], 1024, 100)) == 100


def haproxy_map(weights: list[int]) -> list[int]:
    """Place by place, every server's score compared."""
    total, scores, places = sum(weights), [0] * len(weights), []
    for _ in range(total):
        scores = [score + weight for score, weight in zip(scores, weights, strict=True)]
        quotients = [(score + total) // total for score in scores]
        best = quotients.index(max(quotients))
        scores[best] -= total
        places.append(best)
    return places


@given(weights=WEIGHTS)
def test_the_map_is_haproxys(weights: list[int]) -> None:
    assert list(server_map(weights)) == haproxy_map(weights)


def test_the_nearest_point_counts_on_either_side_and_of_two_the_lower() -> None:
    servers = [Backend(f"b{i}", Address("127.0.0.1", 1 + i)) for i in range(2)]
    ring = finished(NearestRing.slices(servers, [1, 2], [1, 1]))
    points = sorted(
        (full_avalanche(4096 * number + k), servers[number - 1])
        for number in (1, 2)
        for k in range(16)
    )
    both = set(servers)
    checked = 0
    for (low, lower), (high, upper) in pairwise(points):
        if lower is not upper and (high - low) % 2 == 0:
            middle = (low + high) // 2
            assert ring.owner(middle, both) is lower
            assert ring.owner(middle + 1, both) is upper
            assert ring.owner(middle, {upper}) is upper
            checked += 1
    assert checked > 2


@given(hashed=st.integers(0, 2**32 - 1), away=st.sets(st.integers(0, 5), max_size=5))
def test_points_of_servers_that_are_away_are_as_if_gone(hashed: int, away: set[int]) -> None:
    up = [number for number in range(6) if number not in away]
    servers = [Backend(f"b{i}", Address("127.0.0.1", 1 + i)) for i in range(6)]
    whole = finished(NearestRing.slices(servers, range(1, 7), [1, 2, 3, 1, 2, 3]))
    rest = [servers[number] for number in up]
    alone = finished(
        NearestRing.slices(rest, [n + 1 for n in up], [[1, 2, 3, 1, 2, 3][n] for n in up])
    )
    assert whole.owner(hashed, set(rest)) is alone.owner(hashed, set(rest))
