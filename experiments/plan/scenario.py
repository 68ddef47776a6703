"""The scenario: everything that is chosen about a run, validated, with units in the names.

A scenario file is YAML; `load_scenario` reads it and applies overrides (the command line's). What
a scenario leaves out has the defaults given here. A `Scenario` is frozen: it is written to the
run's manifest as it is and hashed, so two runs with the same hash asked for the same thing.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from experiments.plan.faults import Fault, check_faults
from experiments.plan.settings import (
    BackendSettings,
    BalancerSettings,
    NetworkSettings,
    SettingsModel,
    WorkloadSettings,
)
from experiments.wire.datagrams import MAX_RESPONSE_BYTES
from nginy.balancer.registry import ALGORITHMS
from nginy.config.strategies import STRATEGIES

ADDED_LATER = ("system",)


class ScenarioError(Exception):
    """A scenario or sweep that cannot be used; the message names the file, the key and the fix."""


class Scenario(SettingsModel):
    """One run, wholly specified.

    `system`: what is measured; `direct`: no balancer, clients choose. `algorithm_options`: the
    algorithm's parameters, as in nginy's `strategy` (`.venv/bin/nginy algorithms NAME`). `faults`:
    see `experiments/plan/faults.py`. `capture`: hosts of these roles are captured. `keep_captures`:
    leave the pcap files in the run folder (some 20 MB a minute) after the flows have been read from
    them. `precision`: a machine that was late is stated with the result and refuses it where it
    could change it (`experiments/judge/precision.py`); `strict` has narrow bounds besides, whatever
    was asked.
    """

    schema_version: Literal[1] = 1
    name: str = Field("default", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    protocol: Literal["tcp", "udp"] = "tcp"
    system: Literal["nginy", "nginx", "direct"] = "nginy"
    algorithm: str = "round_robin"
    algorithm_options: dict[str, Any] = Field(default_factory=dict)
    network: NetworkSettings = NetworkSettings()
    backends: BackendSettings = BackendSettings()
    workload: WorkloadSettings = WorkloadSettings()
    balancer: BalancerSettings = BalancerSettings()
    faults: tuple[Fault, ...] = ()
    duration_s: float = Field(30, ge=1, le=86_400)
    warmup_s: float = Field(3, ge=0)
    seed: int = Field(1, ge=0, le=2**32 - 1)
    capture: tuple[Literal["client", "balancer"], ...] = ("client", "balancer")
    keep_captures: bool = True
    precision: Literal["normal", "strict"] = "normal"

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        if self.algorithm not in ALGORITHMS:
            raise ValueError(
                f"unknown algorithm {self.algorithm!r}; there are: {', '.join(sorted(ALGORITHMS))}"
            )
        if self.warmup_s >= self.duration_s:
            raise ValueError(f"warmup_s {self.warmup_s:g} leaves nothing of {self.duration_s:g} s")
        for key in ("speeds", "weights"):
            values = getattr(self.backends, key)
            if values and len(values) != self.network.backends:
                raise ValueError(f"backends.{key} needs {self.network.backends} values")
        return self

    @model_validator(mode="after")
    def _algorithm_takes_its_options(self) -> "Scenario":
        known = STRATEGIES[self.algorithm]
        names = [name for name in known.model_fields if name != "type"]
        for name in self.algorithm_options.keys() - names:
            raise ValueError(
                f"algorithm_options.{name}: {self.algorithm} has no such option; "
                f"there are: {', '.join(names) or 'none'}"
            )
        try:
            known.model_validate({"type": self.algorithm, **self.algorithm_options})
        except ValidationError as error:
            problems = (
                {**each, "loc": ("algorithm_options", *each["loc"])} for each in error.errors()
            )
            raise ValueError("; ".join(map(explain, problems))) from None
        return self

    @model_validator(mode="after")
    def _answers_fit_into_datagrams(self) -> "Scenario":
        asked = self.workload.response_bytes
        if self.protocol == "udp" and asked > MAX_RESPONSE_BYTES:
            raise ValueError(
                f"workload.response_bytes {asked} does not fit into one datagram; "
                f"at most {MAX_RESPONSE_BYTES} do (65507, less this protocol's header)"
            )
        return self

    @model_validator(mode="after")
    def _faults_make_sense(self) -> "Scenario":
        check_faults(self.faults, self.backend_ids(), self.duration_s)
        return self

    def backend_ids(self) -> tuple[str, ...]:
        """Names of the backends: also their host names in the star, and their ids in nginy."""
        return tuple(f"b{index + 1}" for index in range(self.network.backends))

    def speed(self, index: int) -> float:
        """Speed factor of backend `index` (from 0)."""
        return self.backends.speeds[index] if self.backends.speeds else 1.0

    def weight(self, index: int) -> int:
        """Weight of backend `index` (from 0)."""
        return self.backends.weights[index] if self.backends.weights else 1

    def capacity_rps(self) -> float:
        """Requests per second that the backends together can serve."""
        speeds = sum(self.speed(index) for index in range(self.network.backends))
        return self.backends.servers * speeds * 1000 / self.workload.mean_demand_ms

    def offered_rps(self) -> float:
        """Requests per second that all clients together send."""
        return self.workload.load * self.capacity_rps()

    @property
    def strict(self) -> bool:
        """Whether the narrow bounds of precision work apply."""
        return self.precision == "strict"

    def digest(self) -> str:
        """See `digest`."""
        return digest(self.model_dump(mode="json"))


def digest(settings: Mapping[str, Any]) -> str:
    """SHA-256 of a scenario's canonical JSON: equal for equal scenarios.

    Settings that came later count only where they are not the default, so that runs of before keep
    their digests.
    """
    defaults = {name: Scenario.model_fields[name].default for name in ADDED_LATER}
    counted = {
        name: value
        for name, value in settings.items()
        if name not in defaults or value != defaults[name]
    }
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def named_file(asked: str, shipped: Path) -> Path:
    """The file that is meant: a path, or the name of a YAML file in the folder `shipped`.

    Raises:
        ScenarioError: neither; the message lists the names there are.
    """
    for path in (Path(asked), shipped / f"{asked}.yaml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    raise ScenarioError(
        f"{asked}: neither a file nor a name in {shipped.parent.name}/{shipped.name}; "
        f"there are: {names}"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ScenarioError: no such file, not YAML, or not a mapping.
    """
    try:
        content = YAML(typ="safe").load(path)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ScenarioError(f"{path}: expected a mapping of settings")
    return content


def load_scenario(path: Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Read a scenario; `overrides` maps dotted keys (`network.clients`) to values and wins.

    Raises:
        ScenarioError: naming the file, each key at fault and what was expected of it.
    """
    return parse_scenario(overridden(read_yaml(path), overrides or {}), str(path))


def parse_scenario(content: Mapping[str, Any], source: str) -> Scenario:
    """Validate what a file or a sweep's cell holds; errors as in `load_scenario`."""
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        raise ScenarioError(
            "\n".join(f"{source}: {explain(problem)}" for problem in error.errors())
        ) from error


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `content` with the values of dotted keys in their places.

    Where something else than settings is on the way (`network: 5`), it is left there for the
    validation to name.
    """
    result = copy.deepcopy(dict(content))
    for dotted, value in overrides.items():
        *path, last = dotted.split(".")
        settings: Any = result
        for key in path:
            settings = settings.setdefault(key, {}) if isinstance(settings, dict) else None
        if isinstance(settings, dict):
            settings[last] = value
    return result


def explain(problem: Mapping[str, Any]) -> str:
    """One validation problem of pydantic in words: key, what is wrong, what was given."""
    key = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {problem['input']!r})" if key else message
