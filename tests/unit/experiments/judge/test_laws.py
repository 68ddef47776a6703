"""Little's law and conservation of requests: by hand, and sabotaged."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.judge.laws import TooFewSamples, carried, conserved, little, little_at


def requests(*rows: tuple[str, str | None]) -> pd.DataFrame:
    """`status` and `backend` of each; all were sent."""
    frame = pd.DataFrame(rows, columns=["status", "backend"])
    return frame.assign(sent_s=0.0)


def final(arrived: int, completed: int, rejected: int = 0) -> dict[str, int]:
    return {"arrived": arrived, "completed": completed, "rejected": rejected}


ANSWERED = requests(*[("ok", "b1")] * 3, ("ok", "b2"), ("rejected", "b2"))
FINALS = {"b1": final(3, 3), "b2": final(2, 1, 1)}


def test_counts_of_clients_and_backends_that_agree() -> None:
    assert conserved(ANSWERED, FINALS) == []


@pytest.mark.parametrize(
    "sabotaged",
    [final(3, 2), final(4, 3), final(3, 4), final(2, 3), final(3, 3, 1)],
    ids=["answer from nowhere", "arrived from nowhere", "served twice", "never came", "rejected"],
)
def test_a_backend_that_counted_something_else_is_named(sabotaged: dict[str, int]) -> None:
    problems = conserved(ANSWERED, {**FINALS, "b1": sabotaged})
    assert problems
    assert all(problem.startswith("b1: ") for problem in problems)


def test_an_answer_that_a_client_made_up_is_noticed() -> None:
    assert conserved(pd.concat([ANSWERED, requests(("ok", "b2"))]), FINALS)


def test_requests_without_an_answer_may_have_been_served_or_not() -> None:
    lost = pd.concat([ANSWERED, requests(("timeout", None), ("reset", "b1"))])
    assert conserved(lost, FINALS) == []
    assert conserved(lost, {**FINALS, "b1": final(5, 5)}) == []
    assert conserved(lost, {**FINALS, "b1": final(6, 3)})


def test_the_balancers_records_are_as_many_as_answers_at_least() -> None:
    records = pd.DataFrame({"backend": ["b1", "b1", "b1", "b2", "b2", None]})
    assert carried(ANSWERED, records) == []
    assert carried(ANSWERED, records[1:])
    assert carried(ANSWERED, pd.concat([records, records]))


def mm_infinity_at_a_backend(
    seed: int, *, stretched: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The balancer's records and the backend's samples, the stays `stretched` in the former."""
    stays, samples = mm_infinity(seed, 30)
    length = (stays[:, 1] - stays[:, 0]) * stretched
    connections = pd.DataFrame(
        {
            "backend": "b1",
            "opened_s": stays[:, 0] - 0.001,
            "connect_ms": 1.0,
            "closed_s": stays[:, 0] + length,
        }
    )
    sampled = pd.DataFrame(samples, columns=["t_s", "value"])
    return connections, sampled.assign(source="b1", quantity="active_connections")


@pytest.mark.parametrize("seed", range(10))
def test_little_at_a_backend(seed: int) -> None:
    honest = little_at("b1", *mm_infinity_at_a_backend(seed), (3, 30))
    assert honest is not None
    assert honest.ok
    wrong = little_at("b1", *mm_infinity_at_a_backend(seed, stretched=1.6), (3, 30))
    assert wrong is not None
    assert not wrong.ok


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_is_longer_at_the_balancer_by_the_round_trip(seed: int) -> None:
    connections, samples = mm_infinity_at_a_backend(seed)
    seen = connections.assign(
        opened_s=connections["opened_s"] - 0.05, closed_s=connections["closed_s"] + 0.05
    )
    known = little_at("b1", seen, samples, (3, 30), 0.1)
    ignored = little_at("b1", seen, samples, (3, 30))
    assert known is not None
    assert ignored is not None
    assert (known.ok, ignored.ok) == (True, False)


def test_little_at_a_backend_without_samples_compares_nothing() -> None:
    connections, samples = mm_infinity_at_a_backend(1)
    assert little_at("b2", connections, samples, (3, 30)) is None


def test_little_by_hand() -> None:
    # One request in flight over [0, 2), another over [1, 3): 1, 2, 1, 0 in four seconds.
    law = little([(0, 2), (1, 3)], [(0.5, 1), (1.5, 2), (2.5, 1), (3.5, 0)], (0, 4))
    assert law.in_flight_sampled == pytest.approx(1)
    assert law.rate_times_stay == pytest.approx(1)
    assert law.ok


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    samples = [(-1.0, 50), *((t / 2, 1) for t in range(20)), (11.0, 50)]
    law = little([(-5, 5), (5, float("inf"))], samples, (0, 10))
    assert (law.in_flight_sampled, law.rate_times_stay) == (pytest.approx(1), pytest.approx(1))
    # Nothing ever differs here, so what is left is one request in one of 20 samples.
    assert law.tolerance == pytest.approx(1 / 20)


def test_too_few_samples_are_an_error_and_not_an_agreement() -> None:
    with pytest.raises(TooFewSamples):
        little([(0, 1)], [(0, 1), (0.1, 1), (0.2, 1)], (0, 1))
    with pytest.raises(TooFewSamples):
        little([], [], (0, 1))


def mm_infinity(seed: int, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Stays of a Poisson stream of 200/s that stay 20 ms on average, and the counter's samples."""
    rng = np.random.default_rng(seed)
    sent = np.sort(rng.uniform(0, duration_s, rng.poisson(200 * duration_s)))
    stays = np.column_stack([sent, sent + rng.exponential(0.02, len(sent))])
    times = np.arange(0, duration_s, 0.1)
    in_flight = [((stays[:, 0] <= t) & (t < stays[:, 1])).sum() for t in times]
    return stays, np.column_stack([times, in_flight])


@given(st.integers(0, 2**32))
def test_an_honest_record_agrees(seed: int) -> None:
    stays, samples = mm_infinity(seed, 10)
    assert little(stays, samples, (0, 10)).ok


@pytest.mark.parametrize("seed", range(20))
def test_latencies_that_are_half_of_the_truth_are_caught(seed: int) -> None:
    stays, samples = mm_infinity(seed, 30)
    stays[:, 1] = stays.mean(axis=1)
    assert not little(stays, samples, (0, 30)).ok
