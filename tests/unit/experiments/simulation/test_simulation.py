"""The simulation against theory, against itself, and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.theory import reference
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario
from experiments.simulation import express
from experiments.simulation.happened import Happened
from experiments.simulation.loop import run
from experiments.simulation.simulate import served_interval, simulate
from experiments.simulation.support import HONOURED, REFUSED, WITHOUT_EFFECT, field_of, refuse
from experiments.tables.dataset import load_run
from nginy.balancer.registry import ALGORITHMS
from tests.unit.experiments.simulation.looped import records


def of(**settings: Any) -> Scenario:
    work = {"mean_demand_ms": 20, "response_bytes": 1000, **settings.pop("workload", {})}
    base = {"network": {"clients": 2}, "duration_s": 30, "warmup_s": 3, "workload": work}
    return parse_scenario({**base, **settings}, "test")


def rows(happened: Happened) -> list[tuple[Any, ...]]:
    return [
        (each.client, each.seq, each.backend, each.status, each.ended_s, repr(each.wait_ms))
        for each in records(happened)
    ]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_serves_everybody_and_repeats_itself(algorithm: str) -> None:
    asked = of(algorithm=algorithm, duration_s=10)
    first = run(asked)
    assert rows(first) == rows(run(asked))
    assert {each.status for each in records(first)} <= {"ok", "timeout"}
    assert len(first.tables()["connections"]) == len(records(first))
    arrived = sum(final["arrived"] for final in first.finals.values())
    assert arrived == len(records(first))


@pytest.mark.parametrize(
    ("algorithm", "workload"),
    [
        ("random", {}),
        ("random", {"distribution": "constant"}),
        ("round_robin", {}),
        ("least_conn", {}),
    ],
)
def test_means_are_those_of_theory(algorithm: str, workload: dict[str, Any]) -> None:
    asked = of(algorithm=algorithm, workload=workload, duration_s=250, warmup_s=10)
    exact = reference(asked)
    assert exact.value_ms is not None
    requests = run(asked).tables()["requests"]
    found = served_interval(requests, (10, 250))
    assert abs(found.mean - exact.value_ms) <= found.high - found.low + 0.01 * exact.value_ms


def test_connections_that_wait_for_the_network_mislead_least_connections() -> None:
    def served_ms(algorithm: str, delay_ms: float) -> float:
        link = {"delay_ms": delay_ms}
        asked = of(algorithm=algorithm, network={"clients": 2, "client_link": link}, duration_s=90)
        done = [each for each in records(run(asked)) if each.wait_ms == each.wait_ms]
        return sum(each.wait_ms + each.service_ms for each in done) / len(done)

    assert served_ms("least_conn", 0) < 0.8 * served_ms("round_robin", 0)
    assert served_ms("least_conn", 80) > served_ms("least_conn", 0) * 1.3
    assert served_ms("round_robin", 80) == pytest.approx(served_ms("round_robin", 0), rel=0.02)


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "udp"},
        {"protocol": "udp", "network": {"client_link": {"loss_pct": 2}}},
        {"workload": {"mode": "persistent", "connections": 3}},
        {"workload": {"kind": "closed", "users": 9}},
        {"workload": {"kind": "long_lived", "lifetime_s": 4}},
        {"network": {"shape": "chain", "balancers": 3}},
        {"network": {"shape": "two_sites", "between_sites": {"delay_ms": 20}}},
        {"network": {"client_link": {"delay_ms": 10, "loss_pct": 1, "rate_mbps": 50}}},
        {"algorithm": "adaptive"},
        {"backends": {"queue_limit": 2, "speeds": [1, 1, 2, 0.5]}},
        {"balancer": {"max_connections": 2, "queue": {"max_waiting": 50}}},
        {"balancer": {"max_connections": 1}},
    ],
    ids=json.dumps,
)
def test_every_request_ends_and_nothing_is_left(settings: dict[str, Any]) -> None:
    happened = run(of(duration_s=8, warmup_s=1, **settings))
    assert records(happened)
    assert all(each.status != "in_flight" for each in records(happened))
    assert {
        each["closed_s"] is not None for each in happened.tables()["connections"].to_dict("records")
    } == {True}
    assert happened.open_leases == 0


def test_a_client_that_gives_up_before_it_is_connected_leaves_nothing() -> None:
    link = {"delay_ms": 10, "loss_pct": 3}
    happened = run(
        of(network={"clients": 2, "client_link": link}, workload={"timeout_ms": 900}, duration_s=60)
    )
    gave_up = [each for each in records(happened) if each.status == "timeout"]
    assert gave_up
    assert happened.open_leases == 0
    assert any(math.isnan(each.connected_s) for each in gave_up)


def test_a_longer_way_makes_requests_longer_by_its_round_trips() -> None:
    def latency_ms(delay_ms: float) -> float:
        link = {"delay_ms": delay_ms}
        asked = of(algorithm="round_robin", network={"clients": 2, "client_link": link})
        done = records(run(asked))
        return sum(each.ended_s - each.intended_s for each in done) * 1e3 / len(done)

    assert latency_ms(25) - latency_ms(5) == pytest.approx(2 * 2 * 20, rel=0.01)


def test_a_run_folder_is_that_of_an_emulation(tmp_path: Path) -> None:
    verdict = simulate(of(duration_s=20), tmp_path / "run")
    assert verdict.valid, verdict.reasons
    finished = load_run(tmp_path / "run")
    assert finished.manifest["kind"] == "simulation"
    assert len(finished.requests) == len(finished.plan) == len(finished.connections)
    assert finished.verdict["labels"] == ["simulation"]


@pytest.mark.parametrize("left", ["", "sabotaged"])
def test_a_mean_that_is_not_theorys_is_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """By the express loop, and where it is left to the general one."""
    serve = express._Queues.serve
    monkeypatch.setattr(
        express._Queues,
        "serve",
        lambda queues, index, at_s, demand_us: serve(queues, index, at_s, 1.3 * demand_us),
    )
    monkeypatch.setattr(express, "why_not", lambda scenario: left)
    monkeypatch.setattr("experiments.simulation.way.Way.retries_s", lambda way: 0.0, raising=True)
    monkeypatch.setattr(
        "experiments.hosts.backend.fifo_server.FifoServer.admit",
        _slower(1.3),
    )
    verdict = simulate(of(algorithm="random", duration_s=120), tmp_path / "run")
    assert any(reason.startswith("theory") for reason in verdict.reasons)


def _slower(factor: float) -> Any:
    from experiments.hosts.backend.fifo_server import FifoServer

    admit = FifoServer.admit
    return lambda self, now_s, demand_s: admit(self, now_s, demand_s * factor)


def test_every_setting_is_honoured_without_effect_or_refused() -> None:
    lists = {**dict.fromkeys(HONOURED), **WITHOUT_EFFECT, **REFUSED}
    fields = set(_fields(Scenario().model_dump(), ""))
    for shape in ("chain", "dumbbell", "two_sites", "leaf_spine"):
        network = parse_scenario({"network": {"shape": shape}}, "test").network
        fields |= set(_fields({"network": network.model_dump()}, ""))
    assert sorted(name for name in fields if not field_of(name, lists)) == []


def _fields(content: dict[str, Any], above: str) -> list[str]:
    groups = {"network", "backends", "balancer"}
    found = []
    for name, value in content.items():
        inside = isinstance(value, dict) and name in groups and not above
        found += _fields(value, f"{name}.") if inside else [f"{above}{name}"]
    return found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"system": "nginx"}, "system"),
        ({"faults": [{"at": "5 s", "kill": "b1"}]}, "faults"),
        ({"network": {"shape": "dumbbell"}}, "network.bottleneck"),
        ({"workload": {"kind": "bulk"}}, "workload.kind bulk"),
        ({"network": {"client_link": {"loss_pct": 5}}}, "link c1->s1: loss_pct 5"),
        ({"network": {"client_link": {"duplicate_pct": 1}}}, "link c1->s1: duplicate_pct"),
        ({"network": {"client_link": {"delay_ms": 5, "reorder_pct": 1}}}, "link c1->s1: reorder"),
    ],
)
def test_what_packets_decide_is_refused_by_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=rf"simulation: {said}.*make experiment"):
        refuse(parse_scenario(settings, "test"))
