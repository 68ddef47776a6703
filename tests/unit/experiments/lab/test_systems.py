"""Systems under test beside nginy: what they are asked, refuse and record."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.lab.systems import SYSTEMS
from experiments.lab.systems.nginx import ALGORITHMS, Nginx
from experiments.plan.scenario import Scenario, ScenarioError, parse_scenario
from experiments.plan.workload.streams import choices

HOSTS = {"lb": "10.0.0.1", "c1": "10.0.1.1", "b1": "10.0.2.1", "b2": "10.0.2.2"}


def scenario(system: str, **asked: Any) -> Scenario:
    return parse_scenario({"network": {"backends": 2}, "system": system, **asked}, "test")


@pytest.mark.parametrize(
    ("system", "asked", "told"),
    [
        ("nginx", {"algorithm": "prequal"}, "it has no prequal; it has: round_robin, least_conn"),
        ("nginx", {"balancer": {"queue": {"max_waiting": 5}}}, "balancer.queue is nginy's own"),
        ("nginx", {"balancer": {"health_check": {"type": "tcp"}}}, "balancer.health_check"),
        (
            "nginx",
            {"algorithm": "ketama", "algorithm_options": {"key": "address_port"}},
            "algorithm_options.key is nginy's own",
        ),
        ("nginx", {"faults": [{"at": "1 s", "drain": "b1"}]}, "`drain` is none of its faults"),
        ("direct", {"algorithm": "least_conn"}, "clients choose at random: algorithm random"),
        ("direct", {"algorithm": "random", "faults": [{"at": "1 s", "restart": "lb"}]}, "restart"),
        ("nginx", {"faults": [{"at": "1 s", "lie": "b1 x0.1"}]}, "it reads no load reports"),
        ("haproxy", {"algorithm": "prequal"}, "it has: round_robin, least_conn"),
        ("haproxy", {"protocol": "udp"}, "it proxies no UDP"),
        (
            "haproxy",
            {"algorithm": "source", "algorithm_options": {"avalanche": True}},
            "algorithm_options.avalanche is nginy's own",
        ),
        ("direct", {"algorithm": "random", "backends": {"weights": [1, 2]}}, "know no weights"),
        ("direct", {"algorithm": "random", "balancer": {"max_fails": 1}}, "it has: none of them"),
    ],
)
def test_what_a_system_cannot_do_is_refused_with_what_it_can(
    system: str, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(ScenarioError, match=f"system {system}: ") as refusal:
        SYSTEMS[system].check(scenario(system, **asked))
    assert told in str(refusal.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nginx_takes_what_it_has(algorithm: str, tmp_path: Path) -> None:
    asked = scenario("nginx", algorithm=algorithm, backends={"weights": [3, 1]})
    SYSTEMS["nginx"].check(asked)
    system = SYSTEMS["nginx"].make(asked, HOSTS, "lb", tmp_path)
    written = (tmp_path / "nginx.conf").read_text()
    assert "server 10.0.2.1:9000 weight=3 max_fails=0" in written
    assert f"upstream all {{ {ALGORITHMS[algorithm]}" in written
    assert system.targets() == ["10.0.0.1:8080"]


def record(tmp_path: Path, **logged: str) -> dict[str, Any]:
    """Of what nginx has logged, 1000 s later by its clock."""
    entry = {
        "client": "10.0.1.1:5000",
        "listener": "10.0.0.1:8080",
        "address": "10.0.2.1:9000",
        "closed_s": "1012.500",
        "duration_s": "0.500",
        "connect_s": "0.001",
        "first_byte_s": "0.020",
        "bytes_up": "20",
        "bytes_down": "1000",
        "status": "200",
        **logged,
    }
    system = Nginx(scenario("nginx"), HOSTS, "lb", tmp_path)
    (tmp_path / "nginx.access.jsonl").write_bytes(orjson.dumps(entry) + b"\n")
    system.stopped(1000.0)
    assert system.records is not None
    found: dict[str, Any] = orjson.loads(system.records.read_bytes())
    return found


def test_nginx_records_are_in_the_form_of_nginys(tmp_path: Path) -> None:
    found = record(tmp_path)
    assert (found["opened_s"], found["closed_s"]) == (12.0, 12.5)
    assert (found["backend"], found["close_reason"]) == ("b1", "completed")
    assert (found["connect_ms"], found["first_byte_ms"]) == (1.0, 20.0)


def test_nginx_has_tried_another_one_before(tmp_path: Path) -> None:
    found = record(tmp_path, address="10.0.2.1:9000, 10.0.2.2:9000", connect_s="-, 0.003")
    assert (found["backend"], found["backends_tried"]) == ("b2", ["b1", "b2"])
    assert found["connect_ms"] == 3.0


def test_nginx_has_reached_nobody(tmp_path: Path) -> None:
    found = record(tmp_path, address="all", connect_s="-", first_byte_s="-", status="502")
    assert (found["backend"], found["close_reason"]) == (None, "connect_failed")


def test_without_a_balancer_all_backends_are_targets(tmp_path: Path) -> None:
    asked = scenario("direct", algorithm="random")
    SYSTEMS["direct"].check(asked)
    system = SYSTEMS["direct"].make(asked, HOSTS, "lb", tmp_path)
    assert system.targets() == ["10.0.2.1:9000", "10.0.2.2:9000"]
    assert system.records is None


def test_clients_choose_evenly_and_the_same_again_by_their_seed() -> None:
    first = [next(drawn) for drawn in [choices(1, 0, 4)] for _ in range(4000)]
    assert first == [next(drawn) for drawn in [choices(1, 0, 4)] for _ in range(4000)]
    assert first != [next(drawn) for drawn in [choices(1, 1, 4)] for _ in range(4000)]
    assert all(900 < first.count(target) < 1100 for target in range(4))
    assert next(choices(1, 0, 1)) == 0


def test_a_setting_that_came_later_leaves_the_digest_of_earlier_runs() -> None:
    """Of the default scenario, as the version before had it."""
    assert Scenario().digest().startswith("8b222b1c787df357")
    assert scenario("nginx").digest() != scenario("nginy").digest()
