"""Two programs, one answer: a model in SimPy that drives the same balancing objects."""

import pytest

from experiments.bench.simpy_model import run as run_in_simpy
from experiments.plan.scenario import parse_scenario
from experiments.simulation.simulate import run
from tests.unit.experiments.simulation.looped import records

WATCH_NOTHING_BUT_CONNECTIONS = (
    "round_robin",
    "random",
    "random_two",
    "least_conn",
    "join_idle_queue",
    "hash",
    "ketama",
    "maglev",
)


@pytest.mark.parametrize("algorithm", WATCH_NOTHING_BUT_CONNECTIONS)
@pytest.mark.parametrize("delay_ms", [0.0, 7.0])
def test_each_request_goes_to_the_same_backend_and_ends_within_a_microsecond(
    algorithm: str, delay_ms: float
) -> None:
    settings = {
        "algorithm": algorithm,
        "network": {"clients": 3, "backends": 5, "client_link": {"delay_ms": delay_ms}},
        "backends": {
            "speeds": [1, 1, 2, 0.5, 1],
            "weights": [1, 2, 2, 1, 1],
            "queue_limit": 1_000_000,
        },
        "workload": {
            "load": 0.6,
            "mean_demand_ms": 20,
            "response_bytes": 200,
            "timeout_ms": 600_000,
        },
        "duration_s": 20,
        "warmup_s": 1,
    }
    asked = parse_scenario(settings, "test")
    ours = {(each.client, each.seq): each for each in records(run(asked)[0])}
    theirs = {(each.client, each.seq): each for each in run_in_simpy(asked)}
    assert len(ours) > 2_000
    chosen = {key: each.backend for key, each in ours.items()}
    assert chosen == {key: each.backend for key, each in theirs.items()}
    assert max(abs(ours[key].ended_s - theirs[key].ended_s) for key in ours) < 1e-6
