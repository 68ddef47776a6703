from pathlib import Path

import pytest

from experiments.plan.scenario import Scenario, ScenarioError, load_scenario, parse_scenario
from nginy.balancer.registry import ALGORITHMS

SCENARIOS = sorted(Path("experiments/scenarios").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_loads(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "network: {clients: 2, client_link: {delay_ms: 5}}\n")
    scenario = load_scenario(path, {"network.client_link.loss_pct": 2.0, "network.clients": 4})
    assert scenario.network.clients == 4
    assert scenario.network.client_link.delay_ms == 5
    assert scenario.network.client_link.loss_pct == 2


@pytest.mark.parametrize("text", ["network:\n", "network: 5\n", "network: {client_link: fast}\n"])
def test_what_is_no_settings_is_named_also_where_an_override_goes_into_it(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ScenarioError, match=r"scenario\.yaml: network"):
        load_scenario(write(tmp_path, text), {"network.client_link.loss_pct": 2.0})


def test_an_unknown_algorithm_names_the_known_ones() -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario({"algorithm": "leastconn"}, "here.yaml")
    assert "here.yaml" in str(caught.value)
    assert "'leastconn'" in str(caught.value)
    assert all(name in str(caught.value) for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"network": {"client_link": {"loss_pct": 100}}}, "network.client_link.loss_pct"),
        ({"network": {"client_link": {"delay_ms": "10ms"}}}, "network.client_link.delay_ms"),
        ({"network": {"client_link": {"delay": 10}}}, "network.client_link.delay"),
        ({"workload": {"load": 0}}, "workload.load"),
        ({"duration_s": 5, "warmup_s": 5}, "warmup_s"),
        ({"backends": {"weights": [1, 2]}}, "backends.weights"),
        ({"backends": {"speeds": [1, 1, 1, 0]}}, "backends.speeds.3"),
        ({"backends": {"speeds": [1, 1, 1, float("nan")]}}, "backends.speeds.3"),
        ({"backends": {"speeds": [1, 1, 1, float("inf")]}}, "backends.speeds.3"),
        ({"backends": {"weights": [1, 1, 1, 0]}}, "backends.weights.3"),
        ({"network": {"client_link": {"delay_ms": 1, "jitter_ms": 2}}}, "jitter_ms"),
        ({"schema_version": 2}, "schema_version"),
        ({"workload": {"distribution": "pareto"}}, "workload.distribution"),
        ({"protocol": "sctp"}, "protocol"),
        ({"protocol": "udp", "workload": {"response_bytes": 65_432}}, "65431 do"),
        ({"algorithm_options": {"key": "address"}}, "round_robin has no such option; .* none"),
        (
            {"algorithm": "ketama", "algorithm_options": {"loadfactor": 2}},
            "algorithm_options.loadfactor: ketama has no such option; there are: key, load_factor",
        ),
        (
            {"algorithm": "maglev", "algorithm_options": {"table_size": 10}},
            "algorithm_options.*10 is not a prime",
        ),
        ({"algorithm_options": {"type": "random"}}, "algorithm_options.type"),
        ({"balancer": {"max_fails": -1}}, "balancer.max_fails"),
        ({"balancer": {"queue": {"max_waitin": 3}}}, "balancer.queue.max_waitin"),
        ({"balancer": {"health_check": {"type": "udp"}}}, "balancer.health_check.*to send"),
        ({"workload": {"distribution": "hyperexponential", "demand_cv2": 0.5}}, "workload: .*cv2"),
    ],
)
def test_bad_values_name_their_key(content: dict[str, object], key: str) -> None:
    with pytest.raises(ScenarioError, match=key):
        parse_scenario(content, "here.yaml")


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "plain words"])
def test_what_is_no_mapping_is_a_clear_error(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScenarioError, match=str(path)):
        load_scenario(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml: No such file"):
        load_scenario(tmp_path / "nowhere.yaml")


def test_capacity_and_offered_load_by_hand() -> None:
    scenario = parse_scenario(
        {
            "network": {"backends": 3},
            "backends": {"servers": 2, "speeds": [1, 1, 0.5]},
            "workload": {"load": 0.5, "mean_demand_ms": 20},
        },
        "here",
    )
    assert scenario.capacity_rps() == pytest.approx(2 * 2.5 * 50)
    assert scenario.offered_rps() == pytest.approx(125)


def test_equal_scenarios_and_only_those_have_equal_digests() -> None:
    assert Scenario().digest() == Scenario(seed=1).digest()
    assert Scenario().digest() != Scenario(seed=2).digest()


def test_whether_health_is_checked_is_part_of_what_was_asked() -> None:
    unchecked = parse_scenario({"balancer": {"health_check": None}}, "here")
    assert unchecked.digest() != Scenario().digest()
    assert Scenario.model_validate(unchecked.model_dump(mode="json")) == unchecked
