"""A sweep: algorithms x loss x delay, replicated, in seeded random order, resumable.

Every cell of the matrix is one run in a folder of its own, named after the cell and the hash of
its scenario. A finished valid run is skipped, so an interrupted sweep goes on where it stopped
and a changed sweep repeats only what changed. The replicates of one cell differ in their seed;
replicate r has the same seed under every algorithm, so all of them see the same workload (common
random numbers). Order: all cells of one replicate, shuffled, then the next replicate (randomised
interleaved trials: Abedi and Brecht, ICPE 2017), so a machine that slows down over the hours
slows all cells alike.
"""

import fcntl
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from experiments.dataset import Run, is_complete, load_run, load_runs
from experiments.scenario import (
    Scenario,
    ScenarioError,
    explain,
    overridden,
    parse_scenario,
    read_yaml,
)
from experiments.settings import SettingsModel
from nginy.errors import NginyError


class SweepAtWork(NginyError):
    """Another sweep is making its runs in the same folder."""


SWEEP_FILE = "sweep.yaml"
"""The sweep's copy in the folder of its runs: with it, its figures can be drawn again."""


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


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """For one sweep at a time: it removes unfinished runs, which may be those of another.

    Raises:
        SweepAtWork: another one holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepAtWork(f"{folder}: another sweep is making its runs there") from None
        yield


def runs_of(sweep: Sweep, folder: Path) -> list[Run]:
    """The sweep's valid runs in `folder`; others there are of what the sweep once was."""
    wanted = {cell.run_id for cell in cells(sweep, str(folder / SWEEP_FILE))}
    return [run for run in load_runs(folder) if run.run_id in wanted]


def run_sweep(
    todo: list[Cell], folder: Path, run: Callable[[int, Cell, Path], bool]
) -> Iterator[tuple[Cell, Literal["skipped", "valid", "invalid"]]]:
    """Make each run that is not there yet; `run` makes one and says whether it is valid.

    `run` is given the cell's place in `todo`, from 1, the cell and its folder.

    An unfinished folder of an interrupted run, and an invalid run, are made anew.
    """
    for number, cell in enumerate(todo, start=1):
        path = folder / cell.run_id
        if is_complete(path) and load_run(path).verdict["valid"]:
            yield cell, "skipped"
            continue
        if path.exists():
            shutil.rmtree(path)
        yield cell, "valid" if run(number, cell, path) else "invalid"


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
