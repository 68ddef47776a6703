"""Errors, named by whose fault they are.

Nothing here imports from the rest of nginy: every layer may raise these.
"""

from dataclasses import dataclass


class NginyError(Exception):
    """Base of everything nginy raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file.

    `line` and `column` count from 1; `line` is None where the file as a whole is meant, `column`
    where the line says enough. `key` is the dotted path of the setting (`rules[0].strategy.type`),
    `expected` says what would be right. A warning is of what works, but hardly is what was meant.
    """

    source: str
    line: int | None
    key: str
    message: str
    expected: str = ""
    column: int | None = None
    is_warning: bool = False

    def __str__(self) -> str:
        """`file:line: key: message (expected ...)`, the way compilers print it."""
        numbers = (number for number in (self.line, self.column) if number is not None)
        place = ":".join((self.source, *map(str, numbers)))
        warning = " warning:" if self.is_warning else ""
        key = f" {self.key}:" if self.key else ""
        expected = f" (expected {self.expected})" if self.expected else ""
        return f"{place}:{warning}{key} {self.message}{expected}"


class ConfigError(NginyError):
    """The operator's fault: the configuration cannot be used. Holds every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep `problems` (at least one) in the order of the file."""
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class BackendError(NginyError):
    """The backend's fault: it refused, timed out, reset or vanished."""

    def __init__(self, message: str, kind: str = "error") -> None:
        """`kind` is what is counted: a word of few, such as `ECONNREFUSED` or `timeout`."""
        super().__init__(message)
        self.kind = kind


class NoResources(NginyError):
    """The balancer's own lack (descriptors, memory, ports): no backend is to blame."""
