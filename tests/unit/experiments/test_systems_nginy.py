import inspect
from pathlib import Path

from experiments.processes import HostProcess
from experiments.scenario import parse_scenario
from experiments.systems.nginy import NginySystem
from nginy.config.load import load


def test_the_balancer_is_configured_as_the_scenario_says_and_ends_when_it_is_told(
    tmp_path: Path,
) -> None:
    asked = {"network": {"backends": 2}, "backends": {"weights": [3, 1]}, "algorithm": "random"}
    NginySystem(parse_scenario(asked, "test"), {"b1": "10.0.2.1", "b2": "10.0.2.2"}, tmp_path)
    config = load(tmp_path / "nginy.yaml")
    assert [(each.id, each.weight) for each in config.backends] == [("b1", 3), ("b2", 1)]
    assert [rule.strategy.type for rule in config.rules] == ["random"]
    # Connections of clients that have vanished must not keep it alive until it is killed.
    patience_s = inspect.signature(HostProcess.stop).parameters["grace_s"].default
    assert config.timeouts.drain_timeout_ms / 1000 <= patience_s / 2
