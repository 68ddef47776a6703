import inspect
from pathlib import Path

import pytest

from experiments.hosts.process import HostPort
from experiments.lab.ports import AGENT_PORT, HEALTH_PORT, PROBE_PORT, REPORT_PORT
from experiments.lab.processes import HostProcess
from experiments.lab.systems.nginy import NginySystem, check_config, probe_port, pushes_reports
from experiments.plan.scenario import ScenarioError, parse_scenario
from nginy.balancer.registry import ALGORITHMS
from nginy.config.load import load
from nginy.config.model import Config

HOSTS = {"lb": "10.0.0.1", "b1": "10.0.2.1", "b2": "10.0.2.2"}


def test_the_balancer_is_configured_as_the_scenario_says_and_ends_when_it_is_told(
    tmp_path: Path,
) -> None:
    asked = {"network": {"backends": 2}, "backends": {"weights": [3, 1]}, "algorithm": "random"}
    NginySystem(parse_scenario(asked, "test"), HOSTS, "lb", tmp_path)
    config = load(tmp_path / "nginy.yaml")
    assert [(each.id, each.weight) for each in config.backends] == [("b1", 3), ("b2", 1)]
    assert [rule.strategy.type for rule in config.rules] == ["random"]
    # Connections of clients that have vanished must not keep it alive until it is killed.
    patience_s = inspect.signature(HostProcess.stop).parameters["grace_s"].default
    assert config.timeouts.drain_timeout_ms / 1000 <= patience_s / 2


def config(folder: Path, **asked: object) -> Config:
    scenario = parse_scenario({"network": {"backends": 2}, **asked}, "test")
    check_config(scenario)
    NginySystem(scenario, HOSTS, "lb", folder)
    return load(folder / "nginy.yaml")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_makes_a_configuration(
    tmp_path: Path, algorithm: str, protocol: str
) -> None:
    (rule,) = config(tmp_path, algorithm=algorithm, protocol=protocol).rules
    assert (rule.strategy.type, rule.protocol) == (algorithm, protocol)


def test_options_reach_the_algorithm(tmp_path: Path) -> None:
    options = {"load_factor": 1.5, "key": "address_port"}
    (rule,) = config(tmp_path, algorithm="ketama", algorithm_options=options).rules
    assert rule.strategy.model_dump() == {"type": "ketama", **options}


def test_without_faults_nothing_is_checked(tmp_path: Path) -> None:
    made = config(tmp_path)
    assert {each.health_check for each in made.backends} == {None}
    assert {each.agent_check for each in made.backends} == {None}
    assert made.report_address is None


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_with_faults_health_is_checked_and_agents_are_asked_if_one_is_drained(
    tmp_path: Path, protocol: str
) -> None:
    kill, drain = {"at": "1 s", "kill": "b1"}, {"at": "1 s", "drain": "b2"}
    check = config(tmp_path, protocol=protocol, faults=[kill]).backends[0].health_check
    assert check is not None
    assert (check.type, check.port, check.interval_s) == (protocol, HEALTH_PORT, 0.5)
    for faults, port in (([kill], None), ([kill, drain], AGENT_PORT)):
        backend = config(tmp_path, protocol=protocol, faults=faults).backends[1]
        assert (backend.agent_check and backend.agent_check.port) == port


def test_the_scenario_decides_about_health_checks_if_it_says_so(tmp_path: Path) -> None:
    faults = [{"at": "1 s", "kill": "b1"}]
    for asked, interval_s in ((None, None), ({"interval_s": 3.0}, 3.0)):
        backend = config(tmp_path, faults=faults, balancer={"health_check": asked}).backends[0]
        assert (backend.health_check and backend.health_check.interval_s) == interval_s


def test_settings_of_the_balancer_are_passed_on(tmp_path: Path) -> None:
    made = config(
        tmp_path,
        protocol="udp",
        balancer={
            "max_fails": 2,
            "fail_timeout_s": 3.0,
            "max_connections": 40,
            "slow_start": {"duration_s": 4.0},
            "live_connections": {"on_drain": "rebind"},
            "udp": {"idle_timeout_ms": 700},
        },
    )
    backend, (rule,) = made.backends[0], made.rules
    assert (backend.max_fails, backend.fail_timeout_s, backend.max_connections) == (2, 3.0, 40)
    assert backend.slow_start.duration_s == 4.0
    assert rule.live_connections.on_drain == "rebind"
    assert (rule.udp.idle_timeout_ms, rule.udp.responses) == (700, 1)
    (rule,) = config(tmp_path, balancer={"queue": {"max_waiting": 7}}).rules
    assert rule.queue.max_waiting == 7


def test_what_only_nginy_knows_to_be_wrong_is_refused_before_anything_is_built() -> None:
    asked = {"balancer": {"live_connections": {"on_down": "rebind"}}}
    with pytest.raises(ScenarioError, match="cannot move to another backend"):
        check_config(parse_scenario(asked, "test"))


def test_who_is_fed_with_reports_and_probes(tmp_path: Path) -> None:
    adaptive, prequal = (
        parse_scenario({"algorithm": name}, "t") for name in ("adaptive", "prequal")
    )
    assert (pushes_reports(adaptive), pushes_reports(prequal)) == (True, False)
    asked = parse_scenario({"balancer": {"load_reports": True}}, "t")
    assert pushes_reports(asked)
    assert (probe_port(adaptive), probe_port(prequal)) == (None, PROBE_PORT)
    (rule,) = config(tmp_path, algorithm="prequal").rules
    assert rule.strategy.model_dump()["probe_port"] == PROBE_PORT
    assert config(tmp_path, algorithm="adaptive").report_address == HostPort("0.0.0.0", REPORT_PORT)
