"""Whole runs in virtual networks: what is asked of the network is what the captures show."""

import io
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from experiments.analysis.throughput import background_mbps
from experiments.judge.verdict import Verdict
from experiments.plan.scenario import Scenario, parse_scenario
from experiments.present.progress import RunProgress
from experiments.run.emulated import run_experiment
from experiments.tables.dataset import Run, load_run
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


def link_emulators() -> list[psutil.Process]:
    """Of the run under way: they are children of this process."""
    return [child for child in psutil.Process().children() if "nfqueue" in command(child)]


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ends just now
        return ""


class Killer(RunProgress):
    """Ends the link emulator as soon as load is on."""

    def load(self, elapsed_s: float, total_s: float) -> None:
        if elapsed_s > 1:
            for emulator in link_emulators():
                emulator.kill()


class Delayer(RunProgress):
    """Stops the link emulator for a moment, again and again."""

    def load(self, elapsed_s: float, total_s: float) -> None:
        for emulator in link_emulators():
            emulator.suspend()
            time.sleep(0.05)
            emulator.resume()


def sabotaged(saboteur: type[RunProgress], folder: Path) -> Verdict:
    with saboteur(Console(file=io.StringIO()), "test") as progress:
        verdict = run_experiment(scenario(1.0), folder, progress)
    assert not verdict.valid
    assert load_run(folder).verdict["valid"] is False
    return verdict


def test_a_link_that_dies_under_load_makes_the_run_invalid_and_is_named(tmp_path: Path) -> None:
    verdict = sabotaged(Killer, tmp_path / "run")
    assert "c1-s1" in " ".join(verdict.reasons)
    assert not verdict.disturbed, "no busy moment: the run is not made again"


def test_links_so_late_that_it_shows_make_the_run_invalid_and_are_named(tmp_path: Path) -> None:
    verdict = sabotaged(Delayer, tmp_path / "run")
    assert verdict.disturbance is not None
    assert "links late" in verdict.disturbance
    assert verdict.uncertainty is not None
    assert verdict.uncertainty.links_max_ms > 20


def test_background_flows_compete_go_past_the_balancer_and_stay_out_of_captures(tmp_path):
    settings = {
        "network": {
            "shape": "dumbbell",
            "clients": 2,
            "backends": 2,
            "bottleneck": {"delay_ms": 5, "rate_mbps": 10},
        },
        "workload": {"load": 0.2, "response_bytes": 500},
        "background": [
            {"source": "c1", "destination": "b1"},
            {"source": "c2", "destination": "b2", "protocol": "udp", "rate_mbps": 2},
        ],
        "duration_s": 5,
        "warmup_s": 2,
    }
    made = run(parse_scenario(settings, "test"), tmp_path)
    found = background_mbps(made.samples, (2, 5))
    assert found.keys() == {"c1>b1", "c2>b2"}
    assert 1.5 < found["c2>b2"] < 2.2
    assert 5 < found["c1>b1"] < 8.5, "what the other flow and headers leave of 10 Mbit/s"
    assert set(made.flows["server_port"]) == {8080, 9000}
    assert set(made.requests["status"]) == {"ok"}
