"""A sweep: algorithms x loss x delay, replicated, in seeded random order.

Every cell of the matrix is one run, named after the cell and the hash of its scenario. The
replicates of one cell differ in their seed; replicate r has the same seed under every algorithm, so
all of them see the same workload (common random numbers). Order: all cells of one replicate,
shuffled, then the next replicate (randomised interleaved trials: Abedi and Brecht, ICPE 2017), so a
machine that slows down over the hours slows all cells alike.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from experiments.plan.scenario import (
    Scenario,
    ScenarioError,
    explain,
    overridden,
    parse_scenario,
    read_yaml,
)
from experiments.plan.settings import SettingsModel


class Sweep(SettingsModel):
    """The matrix. `scenario` holds settings that all cells share, as in a scenario file; not those
    that the matrix itself sets."""

    schema_version: Literal[1] = 1
    name: str = Field("sweep", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    algorithms: tuple[str, ...] = Field(min_length=1)
    loss_pct: tuple[float, ...] = Field((0.0,), min_length=1)
    delay_ms: tuple[float, ...] = Field((10.0,), min_length=1)
    replicates: int = Field(3, ge=1, le=1000)
    seed: int = Field(1, ge=0)
    scenario: dict[str, Any] = Field(default_factory=dict)

    @field_validator("scenario")
    @classmethod
    def _leaves_the_matrix_alone(cls, shared: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted({"name", "algorithm", "seed"} & shared.keys()):
            raise ValueError(f"{', '.join(taken)}: set by the sweep itself, not by its scenario")
        return shared


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    scenario: Scenario
    replicate: int

    @property
    def run_id(self) -> str:
        """Readable, and different for every different scenario."""
        link = self.scenario.network.client_link
        return (
            f"{self.scenario.algorithm}-loss{link.loss_pct:g}-delay{link.delay_ms:g}"
            f"-r{self.replicate}-{self.scenario.digest()[:8]}"
        )


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        ScenarioError: naming file, key and what was expected.
    """
    try:
        return Sweep.model_validate(read_yaml(path))
    except ValidationError as error:
        problems = "\n".join(f"{path}: {explain(problem)}" for problem in error.errors())
        raise ScenarioError(problems) from error


def cells(sweep: Sweep, source: str) -> list[Cell]:
    """Every run of the sweep, in the order in which they are to be made.

    Raises:
        ScenarioError: a cell is no valid scenario (an unknown algorithm, say).
    """
    order = random.Random(sweep.seed)
    ordered: list[Cell] = []
    for replicate in range(sweep.replicates):
        block = [
            Cell(_scenario(sweep, algorithm, loss_pct, delay_ms, replicate, source), replicate)
            for algorithm in sweep.algorithms
            for loss_pct in sweep.loss_pct
            for delay_ms in sweep.delay_ms
        ]
        order.shuffle(block)
        ordered += block
    return ordered


def _scenario(
    sweep: Sweep, algorithm: str, loss_pct: float, delay_ms: float, replicate: int, source: str
) -> Scenario:
    own = {
        "name": sweep.name,
        "algorithm": algorithm,
        "seed": sweep.seed + replicate,
        "network.client_link.loss_pct": loss_pct,
        "network.client_link.delay_ms": delay_ms,
    }
    return parse_scenario(overridden(sweep.scenario, own), source)
