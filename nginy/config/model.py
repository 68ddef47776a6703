"""A configuration that was checked: targets resolved to backends, defaults filled in."""

from dataclasses import dataclass
from typing import Literal

from nginy.config.parse import ClientMatch
from nginy.config.schema import (
    BackendSettings,
    ConnectionTimeouts,
    Retries,
    StrategySettings,
    Timeouts,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which clients, arriving at which port, are sent to which backends, and how."""

    name: str
    """The setting `name`, or `rules[0]`, `rules[1]`, ... as in error messages."""
    clients: tuple[ClientMatch, ...]
    protocol: Literal["tcp"]
    backend_ids: tuple[str, ...]
    """Clusters replaced by their members; in the order written, each once."""
    strategy: StrategySettings
    timeouts: ConnectionTimeouts
    retries: Retries


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, consistent in itself."""

    backends: tuple[BackendSettings, ...]
    rules: tuple[Rule, ...]
    timeouts: Timeouts
    retries: Retries
    bind_addresses: tuple[str, ...]
    """Every port of a rule is listened to on each of these."""
    access_log: str | None
    """A path, `-` for standard output, None for no access log."""

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to listen to, ascending."""
        return tuple(sorted({match.port for rule in self.rules for match in rule.clients}))
