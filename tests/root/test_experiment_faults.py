"""A backend is killed or drained under load; what it costs, and how soon it is over."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.analysis.datagrams import is_lost
from experiments.analysis.summary import fault_summary
from experiments.plan.scenario import Scenario, parse_scenario
from experiments.tables.dataset import Run
from tests.root.short_runs import run

pytestmark = pytest.mark.root

CHECKED_WITHIN_S = 2 * 0.5 * 1.1 + 0.5
"""Two failed checks half a second apart, each interval up to 10 % longer, and the last one's own
timeout: when the balancer knows at the latest that a backend is gone."""
SLACK_S = 1.0
"""For a busy machine; a fault that is never noticed would take until the next one, 4 s later."""


def scenario(*faults: dict[str, object], **settings: object) -> Scenario:
    work = {"load": 0.4, "mean_demand_ms": 20, "response_bytes": 500, "timeout_ms": 800}
    workload = {**work, **settings.pop("workload", {})}  # type: ignore[dict-item]
    return parse_scenario(
        {
            "algorithm": "least_conn",
            "network": {"clients": 2, "backends": 3, "client_link": {"delay_ms": 2}},
            "workload": workload,
            "duration_s": 8.7,
            "warmup_s": 1,
            "faults": list(faults),
            **settings,
        },
        "test",
    )


KILL = ({"at": "2 s", "kill": "b2"}, {"at": "6 s", "restore": "b2"})
DRAIN = ({"at": "2 s", "drain": "b2"}, {"at": "5 s", "restore": "b2"})


def fault(finished: Run, number: int) -> "pd.Series[float]":
    return fault_summary(finished).iloc[number]


def held_by(finished: Run, backend: str, at_s: float) -> "set[str]":
    """Clients' ends of the connections that the balancer had open to it at that time."""
    records = finished.connections
    held = (records["opened_s"] <= at_s) & (records["closed_s"] >= at_s - 0.01)
    return set(records.loc[held & (records["backend"] == backend), "client"])


@pytest.mark.parametrize("mode", ["per_request", "persistent"])
def test_tcp_a_killed_backend_costs_only_the_connections_that_it_held(
    tmp_path: Path, mode: str
) -> None:
    finished = run(scenario(*KILL, workload={"mode": mode}), tmp_path)
    killed_s = fault(finished, 0)["applied_s"]
    failed = finished.requests[finished.requests["status"] != "ok"]
    assert set(failed["local"]) <= held_by(finished, "b2", killed_s)
    assert (failed["ended_s"] < killed_s + CHECKED_WITHIN_S + SLACK_S).all()
    if mode == "per_request":
        assert fault(finished, 0)["detect_s"] < CHECKED_WITHIN_S + SLACK_S
        assert fault(finished, 1)["detect_s"] < CHECKED_WITHIN_S + SLACK_S


def test_udp_a_killed_backend_costs_the_datagrams_in_flight_and_its_flows_move(
    tmp_path: Path,
) -> None:
    work = {"mode": "persistent", "connections": 12}
    finished = run(scenario(*KILL, protocol="udp", workload=work), tmp_path)
    requests, killed_s = finished.requests, fault(finished, 0)["applied_s"]
    lost = requests[is_lost(requests)]
    # A datagram on its way to the dead port is one more per flow: ICMP tells of it afterwards.
    in_flight = requests[
        (requests["sent_s"] <= killed_s)
        & ((requests["ended_s"] > killed_s) | is_lost(requests))
        & (requests["intended_s"] > killed_s - 1)
    ]
    flows = set(requests.loc[requests["backend"] == "b2", "local"])
    assert len(lost) <= len(in_flight) + len(flows)
    assert lost["intended_s"].between(killed_s - 1, killed_s + CHECKED_WITHIN_S + SLACK_S).all()
    known_s = killed_s + CHECKED_WITHIN_S + SLACK_S
    moved = requests[requests["local"].isin(flows) & requests["sent_s"].between(known_s, 5.9)]
    assert len(moved) > 10
    assert set(moved["status"]) == {"ok"}
    assert set(moved["backend"]) == {"b1", "b3"}
    assert fault(finished, 0)["detect_s"] < CHECKED_WITHIN_S + SLACK_S


def test_a_drained_backend_costs_nothing_and_a_slow_one_is_given_less(tmp_path: Path) -> None:
    slow = {"at": "5 s", "slow": "b1 x0.2"}
    patient = {"timeout_ms": 10_000}  # a slow backend has a queue; nobody loses what is in it
    finished = run(scenario(*DRAIN, slow, workload=patient), tmp_path)
    assert set(finished.requests["status"]) == {"ok"}
    drained, restored = fault(finished, 0), fault(finished, 1)
    assert drained["detect_s"] < 2 * 0.5 + 0.5 + SLACK_S, "two questions of its agent"
    assert restored["detect_s"] < 2 * 0.5 + 0.5 + SLACK_S
    late = finished.requests[finished.requests["sent_s"] > 6]
    assert late["backend"].value_counts(normalize=True)["b1"] < 0.25
