"""A time that was measured, or why it was not. Pure."""

from dataclasses import dataclass

FALSE_ALARM = 0.001
"""Probability at which chance is no longer taken for an explanation."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A time in seconds, or why there is none."""

    seconds: float | None
    reason: str = ""
