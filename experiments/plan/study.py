"""A study: a question, what is expected and why, the sweep that answers it, and how it is judged.

Files: `experiments/studies/NAME.yaml`. A claim compares two groups of the sweep's runs seed by
seed, or one group with a number; all of them together decide whether the hypothesis held.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from experiments.plan.base import SettingsModel
from experiments.plan.scenario import ScenarioError, explain, overridden, read_yaml
from experiments.plan.sweep import Sweep

Where = dict[str, float | str]
"""Columns of the sweep's table (algorithm, loss_pct, delay_ms, factors by the last part of their
names) and the level that runs must have."""


class Claim(SettingsModel):
    """`metric` (a column of `summarise`) is smaller `of` those than `than` those; or, with
    `below` or `above`, than a number."""

    say: str
    metric: str = "served_ms"
    of: Where
    than: Where | None = None
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _compares_one_thing(self) -> "Claim":
        given = [each for each in (self.than, self.below, self.above) if each is not None]
        if len(given) != 1:
            raise ValueError("a claim has one of than, below, above")
        return self


class Expected(SettingsModel):
    """A value from theory or an earlier measurement, with its source."""

    metric: str = "served_ms"
    of: Where
    value: float
    source: str


class Study(SettingsModel):
    """One of them. `quick`: settings of the sweep by dotted name, for a first look."""

    schema_version: int = Field(1, ge=1, le=1)
    title: str
    question: str
    hypothesis: str
    look_at: str
    sweep: Sweep
    quick: dict[str, Any] = Field(default_factory=dict)
    claims: tuple[Claim, ...] = Field(min_length=1)
    expected: tuple[Expected, ...] = ()


def load_study(path: Path, *, quick: bool = False) -> Study:
    """Read one; `quick` gives its sweep the quick settings, and a folder of its own.

    Raises:
        ScenarioError: naming file, key and what was expected.
    """
    content = read_yaml(path)
    try:
        study = Study.model_validate(content)
        return _quick(content, study.quick) if quick else study
    except ValidationError as error:
        problems = "\n".join(f"{path}: {explain(problem)}" for problem in error.errors())
        raise ScenarioError(problems) from error


def _quick(content: Mapping[str, Any], changes: Mapping[str, Any]) -> Study:
    named = {f"sweep.{name}": value for name, value in changes.items()}
    named["sweep.name"] = f"{content['sweep']['name']}-quick"
    return Study.model_validate(overridden(content, named))
