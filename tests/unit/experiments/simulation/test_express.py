"""The faster loop gives the rows of the general one, or says that it would not."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from experiments.plan.scenario import Scenario, parse_scenario
from experiments.simulation import express, loop
from experiments.simulation.happened import Happened
from experiments.simulation.simulate import run
from nginy.balancer.registry import ALGORITHMS

LEFT_TO_THE_GENERAL_LOOP = {"prequal", "adaptive"}
EXPRESS = sorted(set(ALGORITHMS) - LEFT_TO_THE_GENERAL_LOOP)


def of(algorithm: str, **more: Any) -> Scenario:
    return parse_scenario(
        {
            "algorithm": algorithm,
            "network": {"clients": 3, "backends": 4, "client_link": {"delay_ms": 3}},
            "workload": {"load": 0.7, "mean_demand_ms": 20, "response_bytes": 20_000},
            "duration_s": 6,
            "warmup_s": 1,
            **more,
        },
        "test",
    )


def same(asked: Scenario, found: Happened | None = None) -> None:
    """To the last bit."""
    ours, general = found or express.run(asked), loop.run(asked)
    tables, wanted = ours.tables(), general.tables()
    for name, frame in wanted.items():
        pd.testing.assert_frame_equal(tables[name], frame, check_exact=True)
    for name, final in general.finals.items():
        assert ours.finals[name] == pytest.approx(final)
    assert (ours.requests, ours.open_leases) == (general.requests, 0)


@pytest.mark.parametrize("algorithm", EXPRESS)
@pytest.mark.parametrize("delay_ms", [0, 3])
def test_every_algorithm_gives_the_same_rows(algorithm: str, delay_ms: float) -> None:
    network = {"clients": 3, "backends": 4, "client_link": {"delay_ms": delay_ms}}
    backends = {"weights": [1, 2, 1, 3], "speeds": [1, 2, 1, 0.5], "queue_limit": 100_000}
    workload = {"load": 0.6, "mean_demand_ms": 20, "timeout_ms": 600_000}
    asked = of(algorithm, network=network, backends=backends, workload=workload)
    assert express.why_not(asked) == ""
    same(asked)


@settings(deadline=None, max_examples=25)
@given(
    algorithm=st.sampled_from(EXPRESS),
    seed=st.integers(1, 1000),
    servers=st.integers(1, 3),
    load=st.sampled_from([0.3, 0.8, 1.1]),
    delays=st.tuples(*[st.sampled_from([0.0, 0.3, 7.0])] * 3),
    response_bytes=st.sampled_from([0, 1000, 60_000]),
)
def test_any_small_scenario_gives_the_same_rows(
    algorithm: str,
    seed: int,
    servers: int,
    load: float,
    delays: tuple[float, float, float],
    response_bytes: int,
) -> None:
    links = ("client_link", "balancer_link", "backend_link")
    network = {name: {"delay_ms": delay} for name, delay in zip(links, delays, strict=True)}
    asked = of(
        algorithm,
        seed=seed,
        duration_s=2,
        warmup_s=0.5,
        network={"clients": 2, "backends": 3, **network},
        backends={"servers": servers, "queue_limit": 100_000},
        workload={
            "load": load,
            "mean_demand_ms": 15,
            "response_bytes": response_bytes,
            "timeout_ms": 600_000,
        },
    )
    try:
        found = express.run(asked)
    except express.NotExact:
        reject()
    same(asked, found)


@pytest.mark.parametrize(
    ("why", "more"),
    [
        ("UDP", {"protocol": "udp"}),
        ("several requests", {"workload": {"mode": "persistent", "load": 0.5}}),
        ("requests wait for one another", {"workload": {"kind": "closed", "users": 3}}),
        ("several balancers", {"network": {"shape": "chain", "balancers": 2}}),
        ("lost", {"network": {"client_link": {"loss_pct": 1}}}),
        ("vary", {"network": {"client_link": {"delay_ms": 5, "jitter_ms": 1}}}),
        ("rate", {"network": {"client_link": {"rate_mbps": 50}}}),
        ("full", {"balancer": {"max_connections": 3}}),
        ("times out", {"workload": {"load": 1.5, "timeout_ms": 100}}),
        ("queue is full", {"workload": {"load": 1.5}, "backends": {"queue_limit": 2}}),
    ],
)
def test_what_it_would_not_do_exactly_is_left_to_the_general_loop(
    why: str, more: dict[str, Any]
) -> None:
    asked = of("least_conn", duration_s=2, **more)
    found, by = run(asked)
    assert by.startswith("general: ")
    assert why in by
    tables = found.tables()
    pd.testing.assert_frame_equal(tables["requests"], loop.run(asked).tables()["requests"])


def test_what_happens_at_one_moment_is_left_to_the_general_loop(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(
        "time_s,client,request_bytes,response_bytes,demand_ms\n"
        "0.5,c1,0,100,20\n0.5,c2,0,100,10\n1,c1,0,100,5\n"
    )
    asked = of("least_conn", workload={"kind": "trace", "path": str(trace)})
    assert run(asked)[1] == "general: two connections come at one moment"


@pytest.mark.parametrize("algorithm", sorted(LEFT_TO_THE_GENERAL_LOOP))
def test_algorithms_that_hear_from_backends_are_left_to_the_general_loop(algorithm: str) -> None:
    assert "probed or report" in express.why_not(of(algorithm))


def test_which_loop_it_was_is_said() -> None:
    assert ALGORITHMS.keys() >= express.BLIND
    assert run(of("random"))[1] == "express: the algorithm does not look"
    assert run(of("least_conn"))[1] == "express: told of load"
