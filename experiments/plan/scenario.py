"""The scenario: everything that is chosen about a run, validated, with units in the names.

A scenario file is YAML; `load_scenario` reads it and applies overrides (the command line's). What
a scenario leaves out has the defaults given here. A `Scenario` is frozen: it is written to the
run's manifest as it is and hashed, so two runs with the same hash asked for the same thing.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from experiments.plan.background import BackgroundFlow, check_background
from experiments.plan.base import SettingsModel
from experiments.plan.faults import (
    Chaos,
    Fault,
    There,
    changing_links,
    chaos_schedule,
    check_faults,
    written_out,
)
from experiments.plan.network import SHAPES, NetworkSettings, StarNetwork
from experiments.plan.servers import check_servers
from experiments.plan.settings import BackendSettings, BalancerSettings
from experiments.plan.workload.kinds import KIND_NAMES, Requests, WorkloadSettings
from experiments.plan.workload.plan import ClientPlan, PlanError, Who, plan_client
from experiments.wire.datagrams import MAX_RESPONSE_BYTES
from nginy.balancer.registry import ALGORITHMS
from nginy.config.strategies import STRATEGIES
from topologies.shapes.shape import LinkSpec, Role, Shape

ADDED_LATER: dict[str, Any] = {
    "system": "nginy",
    "chaos": None,
    "background": [],
    "label": None,
    "backends.server": "emulated",
    "backends.argv": [],
    "network.shape": "star",
    "network.*_link.loss_burst_packets": None,
    "network.*_link.reorder_pct": 0,
    "network.*_link.duplicate_pct": 0,
    "network.*_link.queue_packets": None,
    "network.*_link.queue_bdp": None,
    "network.*_link.up": None,
    "network.*_link.down": None,
    "workload.kind": "requests",
    "workload.request_bytes": 0,
    "workload.profile": [],
}
"""Settings that there were not always, by dotted name, and the value that is as without them."""


class ScenarioError(Exception):
    """A scenario or sweep that cannot be used; the message names the file, the key and the fix."""


class Scenario(SettingsModel):
    """One run, wholly specified.

    `label`: what the run is called in comparisons, if not by its algorithm. `system`: what is
    measured; `direct`: no balancer, clients choose. `algorithm_options`: the algorithm's
    parameters, as in nginy's `strategy` (`.venv/bin/nginy algorithms NAME`). `faults`: see
    `experiments/plan/faults.py`; `chaos` is written out into them. `background`: flows beside the
    requests, past the balancer. `capture`: hosts of these roles
    are captured. `keep_captures`: leave the pcap files in the run folder (some 20 MB a minute)
    after the flows have been read from them. `precision`: a machine that was late is stated with
    the result and refuses it where it could change it (`experiments/judge/precision.py`); `strict`
    has narrow bounds besides, whatever was asked.
    """

    schema_version: Literal[1] = 1
    name: str = Field("default", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    protocol: Literal["tcp", "udp"] = "tcp"
    system: Literal["nginy", "nginx", "haproxy", "direct"] = "nginy"
    algorithm: str = "round_robin"
    label: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:+-]*$", max_length=40)
    algorithm_options: dict[str, Any] = Field(default_factory=dict)
    network: NetworkSettings = StarNetwork()
    backends: BackendSettings = BackendSettings()
    workload: WorkloadSettings = Requests()
    balancer: BalancerSettings = BalancerSettings()
    faults: tuple[Fault, ...] = ()
    chaos: Chaos | None = None
    background: tuple[BackgroundFlow, ...] = Field((), max_length=16)
    duration_s: float = Field(30, ge=1, le=86_400)
    warmup_s: float = Field(3, ge=0)
    seed: int = Field(1, ge=0, le=2**32 - 1)
    capture: tuple[Literal["client", "balancer"], ...] = ("client", "balancer")
    keep_captures: bool = True
    precision: Literal["normal", "strict"] = "normal"

    @field_validator("faults", mode="before")
    @classmethod
    def _written_out(cls, entries: Any) -> Any:
        return written_out(entries)

    @model_validator(mode="after")
    def _network_is_possible(self) -> "Scenario":
        try:
            _ = self.topology
        except ValueError as error:
            raise ValueError(f"network: {error}") from None
        return self

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
            if values and len(values) != len(self.backend_ids()):
                raise ValueError(f"backends.{key} needs {len(self.backend_ids())} values")
        return self

    @model_validator(mode="after")
    def _can_be_planned(self) -> "Scenario":
        """The first client's plan stands for all; a trace is read only for the run."""
        if self.workload.kind == "calls" and self.protocol != "udp":
            raise ValueError("workload.kind calls: needs protocol: udp")
        if self.workload.kind == "closed" and self.protocol == "udp":
            raise ValueError("workload.kind closed: over TCP only; an answer may be lost over UDP")
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
        if self.protocol != "udp":
            return self
        if self.workload.kind in ("bulk", "trace"):
            raise ValueError(f"workload.kind {self.workload.kind}: over TCP only")
        for key in ("response_bytes", "request_bytes"):
            asked = getattr(self.workload, key, 0)
            if asked > MAX_RESPONSE_BYTES:
                raise ValueError(
                    f"workload.{key} {asked} does not fit into one datagram; "
                    f"at most {MAX_RESPONSE_BYTES} do (65507, less this protocol's header)"
                )
        return self

    @model_validator(mode="after")
    def _background_can_be_carried(self) -> "Scenario":
        hosts = [host.name for host in self.topology.hosts]
        check_background(self.background, hosts, self.topology)
        return self

    @model_validator(mode="after")
    def _chaos_is_written_out(self) -> "Scenario":
        """So that the manifest has the schedule, and repeats it whatever is drawn then."""
        if self.chaos is not None:
            drawn = chaos_schedule(self.chaos, self.backend_ids(), self.duration_s, self.seed)
            object.__setattr__(self, "faults", (*self.faults, *drawn))
            object.__setattr__(self, "chaos", None)
        return self

    @model_validator(mode="after")
    def _faults_make_sense(self) -> "Scenario":
        links = self.topology.links
        limited = {
            link.name for link in links if link.leaving.rate_mbps and link.reaching.rate_mbps
        }
        there = There(
            self.backend_ids(),
            self.balancers(),
            [host.name for host in self.topology.hosts],
            [link.name for link in links],
            limited | {link.end for link in links if link.name in limited},
        )
        check_faults(self.faults, there, self.duration_s)
        return self

    @model_validator(mode="after")
    def _servers_can_do_it(self) -> "Scenario":
        check_servers(self)
        return self

    @cached_property
    def topology(self) -> Shape:
        """The network's hosts, switches and links."""
        return self.network.topology()

    def changing_topology(self) -> Shape:
        """The same, with the links that a fault will change marked."""
        names = {host.name: self.topology.link_of(host.name).name for host in self.topology.hosts}
        names |= {link.name: link.name for link in self.topology.links}
        return self.topology.changing(changing_links(self.faults, names))

    def backend_ids(self) -> tuple[str, ...]:
        """Names of the backends: also their hosts', and their ids in nginy."""
        return self._names("backend")

    def clients(self) -> tuple[str, ...]:
        """Names of the clients."""
        return self._names("client")

    def balancers(self) -> tuple[str, ...]:
        """Names of the balancers' hosts."""
        return self._names("balancer")

    def _names(self, role: Role) -> tuple[str, ...]:
        return tuple(host.name for host in self.topology.with_role(role))

    def client_link(self) -> LinkSpec:
        """What leaves the first client: the values that a run is named by."""
        return self.topology.link_of(self.clients()[0]).leaving

    def speed(self, index: int) -> float:
        """Speed factor of backend `index` (from 0)."""
        return self.backends.speeds[index] if self.backends.speeds else 1.0

    def weight(self, index: int) -> int:
        """Weight of backend `index` (from 0)."""
        return self.backends.weights[index] if self.backends.weights else 1

    def capacity_rps(self) -> float:
        """Requests per second that the backends together can serve, if they are emulated."""
        speeds = sum(self.speed(index) for index in range(len(self.backend_ids())))
        return self.backends.servers * speeds * 1000 / self.workload.demand.mean_ms

    def offered_rps(self) -> float:
        """Requests per second that all clients together send, where the load says so; else 0."""
        if self.workload.offered_rps is not None:
            return self.workload.offered_rps
        return (self.workload.offered_load or 0) * self.capacity_rps()

    def plans(self) -> tuple[ClientPlan, ...]:
        """What each client is to send.

        Raises:
            ScenarioError: it cannot be planned (a trace that cannot be read).
        """
        clients = len(self.clients())
        rate_per_s = self.offered_rps() / clients
        try:
            return tuple(
                plan_client(
                    self.workload, Who(index, clients, self.seed, self.duration_s, rate_per_s)
                )
                for index in range(clients)
            )
        except PlanError as error:
            raise ScenarioError(str(error)) from error

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
    return hashlib.sha256(json.dumps(_counted(settings), sort_keys=True).encode()).hexdigest()


def _counted(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        dotted = f"{above}{name}"
        late = ADDED_LATER.items()
        if any(fnmatch(dotted, name_) and value == before for name_, before in late):
            continue
        found[name] = _counted(value, f"{dotted}.") if isinstance(value, dict) else value
    return found


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


def write_scenario(scenario: Scenario, path: Path) -> None:
    """As a file that `load_scenario` reads as the same."""
    YAML(typ="safe", pure=True).dump(scenario.model_dump(mode="json"), path)


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


_TAGS = {"network": SHAPES, "workload": KIND_NAMES}
"""Pydantic names the chosen kind in an error's place; files do not."""


def explain(problem: Mapping[str, Any]) -> str:
    """One validation problem of pydantic in words: key, what is wrong, what was given."""
    parts = [str(part) for part in problem["loc"]]
    if parts[1:2] and parts[1] in _TAGS.get(parts[0], ()):
        del parts[1]
    key = ".".join(parts)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {problem['input']!r})" if key else message
