"""Whole runs in virtual networks: what is asked of the network is what the captures show."""

import io
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from experiments.dataset import Run, load_run
from experiments.progress import RunProgress
from experiments.run import run_experiment
from experiments.scenario import Scenario, parse_scenario
from tests.root.short_runs import run

pytestmark = [pytest.mark.root, pytest.mark.slow]


def scenario(loss_pct: float, **settings: object) -> Scenario:
    network = {"clients": 2, "backends": 3, "client_link": {"delay_ms": 5, "loss_pct": loss_pct}}
    return parse_scenario(
        {
            "algorithm": "least_conn",
            "network": network,
            "workload": {"load": 0.5, "mean_demand_ms": 20, "response_bytes": 10_000},
            "duration_s": 4,
            "warmup_s": 1,
            **settings,
        },
        "test",
    )


def client_side(finished: Run) -> dict[str, int]:
    """What the hosts sent again between clients and balancer, as captured at the sender."""
    flows = finished.flows
    at_client = flows[flows["capture_point"].str.startswith("c")]
    at_balancer = flows[(flows["capture_point"] == "lb") & (flows["server_address"] == "10.0.0.1")]
    return {
        "retransmissions": int(
            at_client["retransmissions_up"].sum() + at_balancer["retransmissions_down"].sum()
        ),
        "syn_retries": int(at_client["syn_retries"].sum()),
    }


def test_loss_that_is_asked_shows_in_the_captures(tmp_path: Path) -> None:
    finished = run(scenario(2.0), tmp_path)
    seen = client_side(finished)
    assert seen["retransmissions"] > 0
    assert seen["syn_retries"] > 0


def test_without_loss_nothing_is_sent_again(tmp_path: Path) -> None:
    finished = run(scenario(0.0), tmp_path)
    assert client_side(finished) == {"retransmissions": 0, "syn_retries": 0}
    requests = finished.requests
    assert len(requests) > 100
    assert set(requests["status"]) == {"ok"}
    assert set(requests["backend"]) == {"b1", "b2", "b3"}
    assert requests["latency_ms"].min() >= 4 * 5, "two round trips of a 5 ms link each way"
    assert len(finished.connections) == len(requests)
    carried = finished.flows[finished.flows["capture_point"].str.startswith("c")]
    assert carried["backend"].value_counts().to_dict() == (
        requests["backend"].value_counts().to_dict()
    )


def test_a_link_that_dies_under_load_makes_the_run_invalid_and_is_named(tmp_path: Path) -> None:
    class Saboteur(RunProgress):
        """Ends the link emulator as soon as load is on: it is a child of this process."""

        def load(self, elapsed_s: float, total_s: float) -> None:
            if elapsed_s > 1:
                for child in psutil.Process().children():
                    if any("nfqueue" in word for word in child.cmdline()):
                        child.kill()

    with Saboteur(Console(file=io.StringIO()), "test") as progress:
        verdict = run_experiment(scenario(1.0), tmp_path / "run", progress)
    assert not verdict.valid
    assert not verdict.disturbed, "no busy moment: the run is not made again"
    assert "c1-s1" in " ".join(verdict.reasons)
    assert load_run(tmp_path / "run").verdict["valid"] is False
