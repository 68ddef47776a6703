import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.fairness import (
    connections_per_second,
    connections_used,
    fairness_verdict,
    jain,
    jain_per_second,
    load_per_backend,
    max_over_mean,
    noise_floor,
    random_jain_mean,
    requests_per_second,
)
from experiments.tables.schema import empty_frame

amounts = st.lists(st.integers(0, 10**6), min_size=1, max_size=50).filter(any)


@pytest.mark.parametrize(
    ("given_out", "weights", "index", "excess"),
    [
        ([5, 5, 5, 5], None, 1.0, 1.0),
        ([20, 0, 0, 0], None, 0.25, 4.0),
        ([2, *[1] * 9], None, 121 / 130, 2 / 1.1),
        ([1, 2, 3], None, 36 / 42, 1.5),
        ([10, 20, 30], [1, 2, 3], 1.0, 1.0),
        ([30, 30], [1, 2], 45**2 / (2 * (900 + 225)), 30 / 22.5),
    ],
)
def test_hand_computed(
    given_out: list[int], weights: list[int] | None, index: float, excess: float
) -> None:
    assert jain(given_out, weights) == pytest.approx(index)
    assert max_over_mean(given_out, weights) == pytest.approx(excess)


@pytest.mark.parametrize("nothing", [[], [0], [0, 0, 0]])
def test_nothing_given_out_is_neither_fair_nor_unfair(nothing: list[int]) -> None:
    assert math.isnan(jain(nothing))
    assert math.isnan(max_over_mean(nothing))


@given(amounts, st.integers(1, 1000))
def test_jain_is_bounded_and_does_not_depend_on_scale_or_order(x: list[int], scale: int) -> None:
    index = jain(x)
    assert 1 / len(x) - 1e-12 <= index <= 1 + 1e-12
    assert jain([scale * value for value in x]) == pytest.approx(index)
    assert jain(sorted(x)) == pytest.approx(index)
    assert 1 - 1e-12 <= max_over_mean(x) <= len(x) + 1e-9


@given(amounts, st.integers(0, 5))
def test_idle_backends_lower_jain_by_their_share(x: list[int], idle: int) -> None:
    assert jain(x + [0] * idle) == pytest.approx(jain(x) * len(x) / (len(x) + idle))


@given(st.integers(1, 30), st.integers(1, 500))
def test_round_robin_is_as_even_as_whole_requests_allow(backends: int, requests: int) -> None:
    counts = [requests // backends + (i < requests % backends) for i in range(backends)]
    q, r = divmod(requests, backends)
    assert jain(counts) == pytest.approx(requests**2 / (backends * (requests * q + r * (q + 1))))


# Backends, requests, E[J] to second order, J's 5 % quantile (40 000 simulated assignments each)
FLOORS = [
    (3, 10, 0.85417, 0.6173),
    (3, 100, 0.98076, 0.9427),
    (3, 1000, 0.99801, 0.9940),
    (5, 100, 0.96224, 0.9124),
    (5, 1000, 0.99602, 0.9906),
    (10, 10, 0.54993, 0.3846),
    (10, 100, 0.91881, 0.8547),
    (10, 1000, 0.99110, 0.9834),
    (10, 10_000, 0.99910, 0.9983),
    (100, 100, 0.50500, 0.4464),
    (100, 1000, 0.91007, 0.8903),
]


@pytest.mark.parametrize(("backends", "requests", "mean", "low"), FLOORS)
def test_the_noise_floor_of_random_assignment(
    backends: int, requests: int, mean: float, low: float
) -> None:
    assert random_jain_mean(requests, backends) == pytest.approx(mean, abs=1e-5)
    assert noise_floor(requests, (1,) * backends).low == pytest.approx(low, abs=0.002)


def test_the_noise_floor_of_no_request_and_of_one() -> None:
    assert math.isnan(random_jain_mean(0, 4))
    assert all(math.isnan(value) for value in noise_floor(0, (1, 1)))
    assert random_jain_mean(1, 4) == pytest.approx(0.25)
    assert noise_floor(1, (1,) * 4).low == pytest.approx(0.25)


def test_a_weighted_floor_follows_the_weights() -> None:
    """Least weight, least requests, most noise: the floor is below that of equal backends."""
    weights = (8, 1, 1)
    drawn = np.random.default_rng(5).multinomial(200, [0.8, 0.1, 0.1], size=20_000)
    indices = [jain(row, weights) for row in drawn]
    floor = noise_floor(200, weights)
    assert floor.mean == pytest.approx(np.mean(indices), abs=0.002)
    assert floor.low == pytest.approx(np.quantile(indices, 0.05), abs=0.005)
    assert floor.lowest < floor.low < noise_floor(200, (1, 1, 1)).low


def test_a_deliberately_biased_balancer_is_caught() -> None:
    drawn = np.random.default_rng(1).multinomial(1000, [0.32, 0.23, 0.23, 0.22])
    assert fairness_verdict(drawn.tolist()).biased
    assert fairness_verdict([1000, 0, 0, 0]).biased


def test_even_random_and_weighted_balancers_are_not() -> None:
    generator = np.random.default_rng(2)
    assert not fairness_verdict([250, 250, 250, 250]).biased
    for _ in range(20):
        assert not fairness_verdict(generator.multinomial(1000, [0.25] * 4).tolist()).biased
    assert not fairness_verdict([500, 250, 250], [2, 1, 1]).biased
    assert fairness_verdict([500, 250, 250]).biased


def test_no_requests_are_no_evidence() -> None:
    verdict = fairness_verdict([0, 0])
    assert math.isnan(verdict.jain)
    assert not verdict.biased


def requests(*rows: tuple[float, str | None, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["intended_s", "backend", "status"])
    return frame.assign(bytes_received=1000)


SERVED = requests(
    (0.1, "b1", "ok"),
    (0.2, "b1", "rejected"),
    (1.1, "b2", "ok"),
    (1.2, None, "timeout"),
    (2.5, "b1", "ok"),
)


def test_load_counts_what_each_backend_is_known_to_have_served() -> None:
    connections = pd.DataFrame(
        {
            "opened_s": [-5.0, 0.2, 1.1, 1.2, -9.0, 2.0],
            "closed_s": [0.1, 0.3, 9.0, 1.2, -0.1, 3.0],
            "backend": ["b1", "b1", "b2", "b3", "b3", "b3"],
        }
    )
    load = load_per_backend(SERVED, connections, ("b1", "b2", "b3"), (0.0, 2.0))
    assert load["requests"].to_dict() == {"b1": 2, "b2": 1, "b3": 0}
    assert load["bytes"].to_dict() == {"b1": 2000, "b2": 1000, "b3": 0}
    assert load["connections"].to_dict() == {"b1": 2, "b2": 1, "b3": 1}


def test_chance_decides_once_per_connection() -> None:
    frame = requests(*[(i / 100, f"b{i % 12 // 3}", "ok") for i in range(600)])
    frame = frame.assign(local=[f"c:{i % 12}" for i in range(600)], connected_s=0.0)
    assert connections_used(frame, (1.0, 5.0)) == 12
    assert connections_per_second(frame, 7.0).to_list() == [12, 12, 12, 12, 12, 12, 0]
    uneven = [450, 50, 50, 50]
    assert fairness_verdict(uneven).biased
    assert not fairness_verdict([300, 200, 100, 0], decisions=12).biased
    assert fairness_verdict(uneven, decisions=12).floor == noise_floor(12, (1, 1, 1, 1))
    counts = requests_per_second(frame, ("b0", "b1", "b2", "b3"), 7.0)
    persistent = jain_per_second(counts, (1,) * 4, connections_per_second(frame, 7.0))
    alone = jain_per_second(counts, (1,) * 4)
    assert (persistent["random_low"] < alone["random_low"]).iloc[:6].all()
    assert persistent.iloc[6].isna().all()


def test_load_of_an_empty_run() -> None:
    load = load_per_backend(
        empty_frame("requests"), empty_frame("connections"), ("b1", "b2"), (0.0, 2.0)
    )
    assert load.to_numpy().tolist() == [[0, 0, 0], [0, 0, 0]]


def test_seconds_sum_to_the_total_and_idle_ones_have_no_index() -> None:
    counts = requests_per_second(SERVED, ("b1", "b2"), 4.0)
    assert counts.to_numpy().tolist() == [[2, 0], [0, 1], [1, 0], [0, 0]]
    table = jain_per_second(counts, (1, 1))
    assert table["jain"].iloc[:3].to_list() == pytest.approx([0.5, 0.5, 0.5])
    assert table.iloc[3].isna().all()
    empty = requests_per_second(empty_frame("requests"), ("b1", "b2"), 2.0)
    assert empty.to_numpy().tolist() == [[0, 0], [0, 0]]


def test_the_floor_rises_with_the_number_of_requests() -> None:
    counts = pd.DataFrame({"b1": [5, 50, 500], "b2": [5, 50, 500]})
    table = jain_per_second(counts, (1, 1))
    for name in ("random_mean", "random_low"):
        assert all(low < high for low, high in pairwise(table[name]))
    weighted = jain_per_second(counts, (1, 2))
    assert (weighted["random_low"] < weighted["random_mean"]).all()
