"""Short runs of some algorithms and of UDP, as `make experiment ALG=... PROTO=...` makes them."""

from pathlib import Path

import orjson
import pytest

from experiments.analysis.summary import summarise
from experiments.plan.scenario import Scenario, parse_scenario
from tests.root.short_runs import run

pytestmark = pytest.mark.root

BACKENDS = {"b1", "b2", "b3"}


def scenario(**settings: object) -> Scenario:
    network = {"clients": 2, "backends": 3, "client_link": {"delay_ms": 2}}
    work = {"load": 0.4, "mean_demand_ms": 20, "response_bytes": 500, "timeout_ms": 800}
    workload = {**work, **settings.pop("workload", {})}  # type: ignore[dict-item]
    shared = {"network": network, "workload": workload, "duration_s": 4, "warmup_s": 1}
    return parse_scenario(shared | settings, "test")


def test_options_reach_the_algorithm(tmp_path: Path) -> None:
    """By address alone, two clients would have two backends at most."""
    options = {"key": "address_port"}
    finished = run(scenario(algorithm="ketama", algorithm_options=options), tmp_path)
    assert set(finished.requests["status"]) == {"ok"}
    assert set(finished.requests["backend"]) == BACKENDS


@pytest.mark.parametrize("algorithm", ["prequal", "adaptive"])
def test_reports_and_probes_reach_the_balancer(tmp_path: Path, algorithm: str) -> None:
    """A backend at a tenth of the speed must be given less; a blind choice would not know."""
    slow = {"speeds": [1, 1, 0.1], "servers": 2}
    asked = scenario(algorithm=algorithm, backends=slow, duration_s=6.5, workload={"load": 0.5})
    finished = run(asked, tmp_path)
    requests = finished.requests[finished.requests["intended_s"] > 3]
    shares = requests["backend"].value_counts(normalize=True)
    assert shares.get("b3", 0.0) < 0.2
    assert set(finished.requests["backend"]) >= {"b1", "b2"}
    assert "WARNING" not in (finished.path / "raw" / "nginy-lb.log").read_text()


def test_datagrams_are_lost_as_the_links_lose_them(tmp_path: Path) -> None:
    link = {"delay_ms": 2, "loss_pct": 3}
    network = {"clients": 2, "backends": 3, "client_link": link}
    work = {"mode": "persistent", "connections": 6}
    finished = run(scenario(protocol="udp", network=network, workload=work), tmp_path)
    found = summarise(finished)
    assert found["late"] == found["duplicates"] == 0
    assert found["lost"] > 0
    assert set(finished.connections["protocol"]) == {"udp"}
    assert set(finished.requests["backend"].dropna()) == BACKENDS
    checks = {check["name"]: check["detail"] for check in finished.verdict["checks"]}
    lost = len(finished.requests[finished.requests["status"] == "timeout"])
    assert f"captures and links agree on {lost} lost" in checks["datagrams"], "a packet each"


def test_an_answer_of_many_fragments_is_whole_or_lost(tmp_path: Path) -> None:
    link = {"delay_ms": 2, "loss_pct": 1}
    network = {"clients": 2, "backends": 3, "client_link": link}
    work = {"response_bytes": 20_000}
    finished = run(scenario(protocol="udp", network=network, workload=work), tmp_path)
    requests = finished.requests
    assert set(requests["status"]) == {"ok", "timeout"}
    assert set(requests.loc[requests["status"] == "ok", "bytes_received"]) == {20_000}
    summary = orjson.loads((finished.path / "raw" / "summary-c1.json").read_bytes())
    assert summary["udp_drops"] == 0
