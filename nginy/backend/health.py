"""Health of a backend: a table of states and events, and what it makes of check results.

The rule is HAProxy's (`rise`, `fall`; `init-state` for the beginning): a backend that is up goes
down after `fall` failed checks in a row, one that is down comes back after `rise` passed ones in a
row, and at first the first result alone decides.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from nginy.config.schema import BackendSettings


class HealthState(Enum):
    """What is known."""

    UNCHECKED = "unchecked"
    """No result yet: it counts as configured (`initial`)."""
    UP = "up"
    FALLING = "falling"
    """Up, but the last check failed."""
    DOWN = "down"
    RISING = "rising"
    """Down, but the last check passed."""
    SUSPENDED = "suspended"
    """Taken down on purpose: results say nothing."""


class HealthEvent(Enum):
    """What may happen."""

    PASSED = "passed"
    """A check passed, and `rise` in a row are not reached."""
    ROSE = "rose"
    """A check passed, the last of `rise` in a row."""
    FAILED = "failed"
    """A check failed, and `fall` in a row are not reached."""
    FELL = "fell"
    """A check failed, the last of `fall` in a row."""
    SUSPEND = "suspend"
    """The backend is taken down on purpose."""
    RESUME = "resume"
    """It may serve again."""


_U, _UP, _F, _D, _R, _S = HealthState
TRANSITIONS: dict[HealthState, dict[HealthEvent, HealthState]] = {
    state: dict(zip(HealthEvent, row, strict=True))
    for state, row in {
        #    PASSED ROSE FAILED FELL SUSPEND RESUME
        _U: (_UP, _UP, _D, _D, _S, _U),
        _UP: (_UP, _UP, _F, _D, _S, _UP),
        _F: (_UP, _UP, _F, _D, _S, _F),
        _D: (_R, _UP, _D, _D, _S, _D),
        _R: (_R, _UP, _D, _D, _S, _R),
        _S: (_S, _S, _S, _S, _S, _U),
    }.items()
}
"""The whole machine."""

_SERVES = {_UP: True, _F: True, _D: False, _R: False}


class CheckResult(NamedTuple):
    """What one check found."""

    ended_at: float
    """Seconds, monotonic."""
    duration_s: float
    passed: bool | None
    """None: it could not be made."""
    words: str = ""
    """Why it did not pass."""


@dataclass(eq=False, slots=True)
class Health:
    """What the checks and the agent of one backend say together: it is up when its checks pass
    and its agent does not object. An agent's `up` takes back its `down` and no more."""

    rise: int = 1
    fall: int = 1
    initially_up: bool = True
    """What the checks count as saying before the first one."""
    state: HealthState = field(default=HealthState.UNCHECKED, init=False)
    agent_up: bool = True
    """False after an agent's `down`, until its `up`."""
    row: int = field(default=0, init=False)
    """Equal results in a row."""
    _passing: bool = field(default=False, init=False)
    _serves: bool = field(init=False)
    """What the checks said last; while it is suspended, and until it is checked again, that holds.
    """

    def __post_init__(self) -> None:
        """Nothing is checked yet."""
        self._serves = self.initially_up

    @property
    def up(self) -> bool:
        """Whether the backend is healthy."""
        return self.agent_up and self._serves

    def checked(self, passed: bool) -> None:
        """Take the result of a check."""
        self.row = self.row + 1 if passed is self._passing else 1
        self._passing = passed
        if passed:
            self._go(HealthEvent.ROSE if self.row >= self.rise else HealthEvent.PASSED)
        else:
            self._go(HealthEvent.FELL if self.row >= self.fall else HealthEvent.FAILED)

    def suspend(self) -> None:
        """The backend is taken down on purpose: it is not checked meanwhile."""
        self._go(HealthEvent.SUSPEND)

    def resume(self) -> None:
        """It may serve again, and is unchecked if it was suspended."""
        if self.state is HealthState.SUSPENDED:
            self.row = 0
        self._go(HealthEvent.RESUME)

    def _go(self, event: HealthEvent) -> None:
        self.state = TRANSITIONS[self.state][event]
        self._serves = _SERVES.get(self.state, self._serves)


def make_health(settings: BackendSettings) -> Health:
    """Its health before the first check."""
    check = settings.health_check
    if check is None:
        return Health()
    return Health(check.rise, check.fall, initially_up=check.initial == "up")
