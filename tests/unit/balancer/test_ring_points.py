"""How many points each backend has on Envoy's ring, and where HAProxy's map puts servers."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from nginy.balancer.haproxy_map import server_map
from nginy.balancer.ring_hash import point_counts

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
