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
from nginy.errors import Problem

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
    status_socket: str | None
    """A path, `off`, None for the one that the file's own path gives."""
    report_address: Address | None
    """Where load reports are listened for (setting `healthcheck_addr`)."""
    warnings: tuple[Problem, ...] = ()
    """What can be served, but hardly is what was meant."""

    @property
    def report_clash(self) -> str:
        """Why `healthcheck_addr` cannot be listened to beside the rules; empty: it can.

        No error of the file, because files of the original project have it.
        """
        address = self.report_address
        if address is None or ("tcp", address.port) not in self.ports:
            return ""
        wildcard = "::" if ":" in address.host else "0.0.0.0"
        own = {host for host in self.bind_addresses if (":" in host) == (":" in address.host)}
        if not own or (address.host != wildcard and own.isdisjoint({address.host, wildcard})):
            return ""
        names = [
            rule.name
            for rule in self.rules
            if rule.protocol == "tcp" and any(match.port == address.port for match in rule.clients)
        ]
        return (
            f"healthcheck_addr {address} (load reports) has the TCP port of {', '.join(names)};"
            " give one of them another port, or leave healthcheck_addr out"
        )

    @property
    def dual_stack(self) -> bool:
        """Whether `::` is for IPv4 clients, too: where no IPv4 address is bound beside it."""
        return "::" in self.bind_addresses and all(":" in host for host in self.bind_addresses)

    @property
    def bound_versions(self) -> frozenset[int]:
        """Whose clients can come, 4 or 6 of IP."""
        if self.dual_stack:
            return frozenset((4, 6))
        return frozenset(6 if ":" in host else 4 for host in self.bind_addresses)

    @property
    def ports(self) -> tuple[tuple[Protocol, int], ...]:
        """What to listen to: protocol and port, ascending."""
        return tuple(
            sorted({(rule.protocol, match.port) for rule in self.rules for match in rule.clients})
        )
