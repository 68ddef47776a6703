"""One scenario, three systems, the same tables."""

from pathlib import Path

import pytest

from experiments.plan.scenario import parse_scenario
from experiments.tables.schema import TABLES
from tests.root.short_runs import run

pytestmark = pytest.mark.root


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_every_system_gives_the_same_tables(tmp_path: Path, protocol: str) -> None:
    settings = {
        "algorithm": "random",
        "protocol": protocol,
        "network": {"clients": 2, "backends": 3, "client_link": {"delay_ms": 2}},
        "workload": {"load": 0.4, "response_bytes": 500},
        "duration_s": 4,
        "warmup_s": 1,
    }
    runs = {
        system: run(parse_scenario({**settings, "system": system}, "test"), tmp_path / system)
        for system in ("nginy", "nginx", "direct")
    }
    for system, finished in runs.items():
        assert finished.manifest["system"]["name"] == system
        assert set(finished.requests["status"]) == {"ok"}
        assert set(finished.requests["backend"]) == {"b1", "b2", "b3"}
        for table in ("requests", "samples", "connections", "flows"):
            assert list(getattr(finished, table).columns) == TABLES[table].names
    # One seed: the same requests at the same times, whoever carries them.
    offered = {name: tuple(each.requests["demand_ms"]) for name, each in runs.items()}
    assert len(set(offered.values())) == 1
    carried = {name: len(each.connections) for name, each in runs.items()}
    assert carried == {"nginy": carried["nginy"], "nginx": carried["nginy"], "direct": 0}
    by_server = runs["nginx"].connections["backend"].value_counts().to_dict()
    assert by_server == runs["nginx"].requests["backend"].value_counts().to_dict()


@pytest.mark.parametrize(
    ("algorithm", "clients", "weights"),
    [("round_robin", 1, [3, 1, 2]), ("hash", 6, [1, 1, 2]), ("ketama", 6, [1, 1, 2])],
)
def test_nginy_puts_each_request_on_the_backend_that_nginx_puts_it_on(
    tmp_path: Path, algorithm: str, clients: int, weights: list[int]
) -> None:
    settings = {
        "algorithm": algorithm,
        "network": {"clients": clients, "backends": 3},
        "backends": {"weights": weights},
        "workload": {"load": 0.5, "response_bytes": 500},
        "capture": [],
        "duration_s": 4,
        "warmup_s": 1,
    }
    chosen = [
        run(parse_scenario({**settings, "system": system}, "test"), tmp_path / system)
        .requests.set_index(["client", "seq"])["backend"]
        .sort_index()
        for system in ("nginy", "nginx")
    ]
    assert len(chosen[0]) > 100
    assert len(set(chosen[0])) > 1
    assert (chosen[0] == chosen[1]).all()
