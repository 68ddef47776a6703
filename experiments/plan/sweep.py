"""A sweep: the product of some factors' levels, replicated, in seeded random order.

Every cell is one scenario but for its seed: its replicates differ in nothing else, and replicate r
has the same seed in every cell, so all of them see the same workload (common random numbers).
Order: all cells of one replicate, shuffled, then the next replicate (randomised interleaved trials:
Abedi and Brecht, ICPE 2017), so a machine that slows down over the hours slows all cells alike.

One cell is made twice under two names, with the same seeds (an A/A pair): what differs between the
two is this machine's doing, and a sweep whose pair differs is not to be trusted.
"""

import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML

from experiments.plan.base import SettingsModel
from experiments.plan.scenario import (
    Scenario,
    ScenarioError,
    explain,
    overridden,
    parse_scenario,
    read_yaml,
)

ALGORITHM, LOSS, DELAY = "algorithm", "network.client_link.loss_pct", "network.client_link.delay_ms"
AGAIN = "-again"
"""Ends the name of the second run of an A/A pair."""


class Sweep(SettingsModel):
    """The matrix. `scenario` holds settings that all cells share, as in a scenario file; not those
    that the matrix itself sets.

    `arms`: settings by dotted name under a name that `algorithms` may have: `bounded: {algorithm:
    ketama, algorithm_options.load_factor: 1.25}`. `factors`: the levels of any other setting by its
    dotted name, as `workload.load: [0.5, 0.7]`. `replicates` are made of every cell, and more, up
    to `most_replicates`, until the 95 % interval of every cell's mean p99 is within
    `half_width_pct` of it. `baseline`: the algorithm that all others are compared with; without
    one, all pairs are.
    """

    schema_version: Literal[1] = 1
    name: str = Field("sweep", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    algorithms: tuple[str, ...] = Field(min_length=1)
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    loss_pct: tuple[float, ...] = Field((0.0,), min_length=1)
    delay_ms: tuple[float, ...] = Field((10.0,), min_length=1)
    factors: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    replicates: int = Field(3, ge=1, le=1000)
    most_replicates: int | None = Field(None, ge=1, le=1000)
    half_width_pct: float = Field(10.0, gt=0, le=100)
    baseline: str | None = None
    seed: int = Field(1, ge=0)
    scenario: dict[str, Any] = Field(default_factory=dict)

    @field_validator("scenario")
    @classmethod
    def _leaves_the_matrix_alone(cls, shared: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted({"name", "algorithm", "seed"} & shared.keys()):
            raise ValueError(f"{', '.join(taken)}: set by the sweep itself, not by its scenario")
        return shared

    @field_validator("factors")
    @classmethod
    def _are_others(cls, factors: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if taken := sorted({"name", "seed", ALGORITHM, LOSS, DELAY} & factors.keys()):
            raise ValueError(f"{', '.join(taken)}: has a key of its own in a sweep")
        if empty := [name for name, levels in factors.items() if not levels]:
            raise ValueError(f"{', '.join(empty)}: has no levels")
        return factors

    @model_validator(mode="after")
    def _baseline_is_there(self) -> "Sweep":
        if unused := sorted(self.arms.keys() - set(self.algorithms)):
            raise ValueError(f"arms.{unused[0]}: not among the algorithms")
        if self.baseline is not None and self.baseline not in self.algorithms:
            raise ValueError(f"baseline {self.baseline}: not one of the algorithms")
        if self.most_replicates is not None and self.most_replicates < self.replicates:
            raise ValueError("most_replicates: less than replicates")
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    scenario: Scenario
    replicate: int
    levels: tuple[tuple[str, Any], ...] = ()
    """Of `factors`, by dotted name."""
    again: bool = False
    """The second of an A/A pair."""

    @property
    def run_id(self) -> str:
        """Readable, and different for every different scenario."""
        link = self.scenario.client_link()
        more = "".join(f"-{column(name)}{_word(level)}" for name, level in self.levels)
        name = _word(self.scenario.label or self.scenario.algorithm)
        return (
            f"{name}-loss{link.loss_pct:g}-delay{link.delay_ms:g}{more}"
            f"-r{self.replicate}-{self.scenario.digest()[:8]}{AGAIN if self.again else ''}"
        )


def column(factor: str) -> str:
    """The name of a factor's column in the sweep's table: the last part of its dotted name."""
    return factor.rpartition(".")[2]


def _word(level: Any) -> str:
    """As a part of a file's name."""
    text = f"{level:g}" if isinstance(level, float) else str(level)
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_")


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        ScenarioError: naming file, key and what was expected.
    """
    return _validated(read_yaml(path), str(path))


def _validated(content: Mapping[str, Any], source: str) -> Sweep:
    try:
        return Sweep.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"{source}: {explain(problem)}" for problem in error.errors())
        raise ScenarioError(problems) from error


def narrowed(sweep: Sweep, given: Mapping[str, Any], source: str) -> Sweep:
    """The sweep with these settings (by dotted name) in all cells: of a factor one level is left.

    A baseline that is not among what is left is none any more. Raises ScenarioError as
    `load_sweep` does.
    """
    own = {ALGORITHM: "algorithms", LOSS: "loss_pct", DELAY: "delay_ms"}
    changed: dict[str, Any] = {own[name]: (given[name],) for name in given if name in own}
    changed["factors"] = {
        name: (given[name],) if name in given else levels for name, levels in sweep.factors.items()
    }
    if "seed" in given:
        changed["seed"] = given["seed"]
    fixed = {*own, *sweep.factors, "seed"}
    shared = {name: value for name, value in given.items() if name not in fixed}
    changed["scenario"] = overridden(sweep.scenario, shared)
    if sweep.baseline not in changed.get("algorithms", sweep.algorithms):
        changed["baseline"] = None
    return _validated({**sweep.model_dump(), **changed}, source)


def write_sweep(sweep: Sweep, path: Path) -> None:
    """As a file that `load_sweep` reads."""
    with path.open("w") as stream:
        YAML(typ="safe").dump(sweep.model_dump(mode="json"), stream)


def cells(sweep: Sweep, source: str, replicates: int | None = None) -> list[Cell]:
    """Every run of the sweep, in the order in which they are to be made; `replicates` of each cell
    (default: what it has at least). More of them append to the list.

    Raises:
        ScenarioError: a cell is no valid scenario (an unknown algorithm, say).
    """
    order = random.Random(sweep.seed)
    ordered: list[Cell] = []
    for replicate in range(replicates or sweep.replicates):
        block = [
            Cell(
                _scenario(sweep, algorithm, loss_pct, delay_ms, levels, replicate, source),
                replicate,
                levels,
            )
            for algorithm in sweep.algorithms
            for loss_pct in sweep.loss_pct
            for delay_ms in sweep.delay_ms
            for levels in _combinations(sweep.factors)
        ]
        block.append(replace(block[0], again=True))
        order.shuffle(block)
        ordered += block
    return ordered


def _combinations(factors: Mapping[str, tuple[Any, ...]]) -> list[tuple[tuple[str, Any], ...]]:
    each = [[(name, level) for level in levels] for name, levels in factors.items()]
    return list(itertools.product(*each))


def _scenario(
    sweep: Sweep,
    algorithm: str,
    loss_pct: float,
    delay_ms: float,
    levels: tuple[tuple[str, Any], ...],
    replicate: int,
    source: str,
) -> Scenario:
    arm = sweep.arms.get(algorithm)
    own = {
        "name": sweep.name,
        **({ALGORITHM: algorithm} if arm is None else {**arm, "label": algorithm}),
        "seed": sweep.seed + replicate,
        LOSS: loss_pct,
        DELAY: delay_ms,
        **dict(levels),
    }
    scenario = parse_scenario(overridden(sweep.scenario, own), source)
    if scenario.workload.kind == "wrk":
        raise ScenarioError(
            f"{source}: workload.kind wrk: gives totals alone, which a sweep cannot compare: "
            "workload.kind: http"
        )
    return scenario
