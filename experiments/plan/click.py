"""A fault that somebody asks for by hand while a run is shown: one line of JSON. Pure.

Written by the page's server, which is not root, and read by the run, which is: so nothing of it is
believed but what is validated here and, as a fault of the scenario, against the run's state.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from experiments.plan.faults import KINDS, RESTORE, Fault

MOST_LINE_BYTES = 300
BY_HAND = "by hand, no evidence"
"""The label of every run that could be clicked at."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Click(BaseModel):
    """What to do to whom; `value` in the kind's unit, for those that take one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    action: Literal["kill", "pause", "slow", "drain", "loss", "delay", "cut", "restore"]
    subject: Name
    value: float | None = Field(None, ge=0, le=10_000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _takes_its_value(self) -> Self:
        unit = KINDS[self.action].unit if self.action != RESTORE else ""
        if bool(unit) != (self.value is not None):
            raise ValueError(f"{self.action} takes {f'a value in {unit}' if unit else 'no value'}")
        return self

    def fault(self, at_s: float) -> Fault:
        """The same as a scenario has it, at that time."""
        return Fault(at_s=at_s, action=self.action, subject=self.subject, value=self.value)


def read_click(line: bytes) -> Click:
    """Of one line of JSON. Raises ValueError, saying in one line what is wrong with it."""
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"{len(line)} bytes; a fault has at most {MOST_LINE_BYTES}")
    try:
        return Click.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(": ".join(filter(None, [where, first["msg"]]))) from None
