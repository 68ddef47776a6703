"""Faults on a schedule, as a scenario file writes them. Pure.

    faults:
      - {at: 5 s, kill: b2}
      - {at: 5 s, slow: b1 x0.25}
      - {at: 8 s, drain: b3}
      - {at: 12 s, restore: b2}

`at` counts from the start of load. `kill`: SIGKILL to that backend; `slow`: its speed is multiplied
by the factor, also for what it is serving; `drain`: its agent answers `drain`; `restore`: whatever
was done to it is undone (started again, full speed, agent `ready`).
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Action = Literal["kill", "slow", "drain", "restore"]
ACTIONS: tuple[Action, ...] = get_args(Action)

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|ms)?")
_SLOW = re.compile(r"(\S+)\s+x\s*(\d+(?:\.\d+)?)")


class Fault(BaseModel):
    """One entry; its JSON form is the file's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float = Field(ge=0)
    """Seconds after the start of load."""
    action: Action
    backend: str
    factor: float | None = Field(None, gt=0, le=1000)
    """Of `slow` only: what the speed is multiplied by."""

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "action" in data:
            return data
        if "at" not in data or len(data) != 2 or not (actions := data.keys() & set(ACTIONS)):
            raise ValueError(
                "expected {at: 5 s, ACTION: backend}, ACTION being one of kill, slow "
                "(slow: b1 x0.25), drain, restore"
            )
        action = actions.pop()
        at_s, about = _seconds(data["at"]), data[action]
        if action != "slow":
            return {"at_s": at_s, "action": action, "backend": about}
        backend, factor = _slowed(about)
        return {"at_s": at_s, "action": action, "backend": backend, "factor": factor}

    @model_serializer
    def _to_file(self) -> dict[str, str]:
        about = self.backend if self.factor is None else f"{self.backend} x{self.factor:g}"
        return {"at": f"{self.at_s:g} s", self.action: about}

    def __str__(self) -> str:
        """`kill b2`, `slow b1 x0.25`."""
        return f"{self.action} {self._to_file()[self.action]}"


def check_faults(faults: Sequence[Fault], backends: Collection[str], duration_s: float) -> None:
    """Raise ValueError, naming the entry, where the schedule makes no sense.

    That is: an unknown backend, a time after the load has ended, `restore` of what is well, and
    anything but `restore` for a backend that was killed.
    """
    suffering: dict[str, set[Action]] = {}
    for fault in sorted(faults, key=lambda fault: fault.at_s):
        where = f"faults: {fault} at {fault.at_s:g} s"
        if fault.backend not in backends:
            raise ValueError(f"{where}: unknown backend; there are: {', '.join(backends)}")
        if fault.at_s >= duration_s:
            raise ValueError(f"{where}: the load ends at {duration_s:g} s")
        ailments = suffering.setdefault(fault.backend, set())
        if fault.action == "restore":
            if not ailments:
                raise ValueError(f"{where}: nothing was done to it before")
            ailments.clear()
        elif "kill" in ailments:
            raise ValueError(f"{where}: it is killed and not restored by then")
        else:
            ailments.add(fault.action)


def _seconds(text: object) -> float:
    """Of `5`, `5 s`, `250 ms`."""
    found = _TIME.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"at: {text!r} is not a time such as 5 s")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _slowed(about: object) -> tuple[str, float]:
    """Of `b1 x0.25`."""
    found = _SLOW.fullmatch(str(about).strip())
    if found is None:
        raise ValueError(f"slow: {about!r} is not a backend and a factor such as b1 x0.25")
    return found[1], float(found[2])
