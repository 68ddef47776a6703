"""A configuration that was checked: targets resolved to backends, defaults filled in."""

from dataclasses import dataclass
from typing import Literal

from nginy.address import Address
from nginy.config.guard_settings import (
    AccessSettings,
    DnsSettings,
    GlobalLimitSettings,
    LimitSettings,
    LiveSettings,
    PassiveSettings,
    QueueSettings,
    UdpSettings,
)
from nginy.config.parse import ClientMatch
from nginy.config.schema import BackendSettings, ConnectionTimeouts, Retries, Timeouts
from nginy.config.strategies import StrategySettings

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which clients, arriving at which port, are sent to which backends, and how."""

    name: str
    """The setting `name`, or `rules[0]`, `rules[1]`, ... as in error messages."""
    clients: tuple[ClientMatch, ...]
    protocol: Protocol
    backend_ids: tuple[str, ...]
    """Clusters replaced by their members; in the order written, each once."""
    strategy: StrategySettings
    all_down: Literal["refuse", "try_all"]
    timeouts: ConnectionTimeouts
    retries: Retries
    queue: QueueSettings
    live_connections: LiveSettings
    """`on_down` is never None: the protocol's default is filled in."""
    access: tuple[AccessSettings, ...]
    limits: LimitSettings
    passive: PassiveSettings
    udp: UdpSettings


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, consistent in itself."""

    backends: tuple[BackendSettings, ...]
    """Global health_check, agent_check and slow_start are filled in."""
    rules: tuple[Rule, ...]
    timeouts: Timeouts
    retries: Retries
    limits: GlobalLimitSettings
    dns: DnsSettings
    bind_addresses: tuple[str, ...]
    """Every port of a rule is listened to on each of these."""
    access_log: str | None
    """A path, `-` for standard output, None for no access log."""
    report_address: Address | None
    """Where load reports are listened for (setting `healthcheck_addr`)."""

    @property
    def ports(self) -> tuple[tuple[Protocol, int], ...]:
        """What to listen to: protocol and port, ascending."""
        return tuple(
            sorted({(rule.protocol, match.port) for rule in self.rules for match in rule.clients})
        )
