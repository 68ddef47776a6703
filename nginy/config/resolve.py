"""From the settings of a file to a consistent configuration: names resolved, clashes found."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from socket import AF_UNIX
from typing import TypeVar

from nginy.config.document import Document
from nginy.config.endpoints import agent_check, check_endpoint, check_ids_of_names
from nginy.config.guard_settings import LiveSettings
from nginy.config.model import Config, Rule
from nginy.config.parse import ClientMatch
from nginy.config.rule_checks import check_points, check_protocol
from nginy.config.schema import BackendSettings, FileSettings, RuleSettings
from nginy.config.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)


@dataclass(frozen=True)
class Parts:
    """The parts of a file that are valid by themselves, by their place in the file."""

    top: FileSettings
    backends: Mapping[int, BackendSettings]
    rules: Mapping[int, RuleSettings]
    backend_ids: Mapping[int, str]
    """Also of backends that are not valid, so that naming one is not another problem."""
    cluster_ids: Collection[str]
    """Likewise."""

    @cached_property
    def by_id(self) -> Mapping[str, BackendSettings]:
        """The valid backends."""
        return {backend.id: backend for backend in self.backends.values()}

    @cached_property
    def known_ids(self) -> Collection[str]:
        """Of all backends."""
        return frozenset(self.backend_ids.values())

    @cached_property
    def target_names(self) -> Collection[str]:
        """What a rule may name: backends and clusters."""
        return frozenset(self.backend_ids.values()).union(self.cluster_ids)


def resolve(parts: Parts, document: Document) -> Config:
    """The configuration; of no use if problems were reported to `document`."""
    _check_presence(parts, document)
    _check_backend_ids(parts, document)
    check_ids_of_names(parts.backends.items(), document)
    for index, backend in parts.backends.items():
        check_endpoint(index, backend, parts.top, document)
    _check_rule_names(parts, document)
    _check_clusters(parts, document)
    _check_listeners(parts, document)
    targets = _Targets(parts, document)
    rules = tuple(
        _resolve_rule(index, rule, targets.resolve(index, rule), parts, document)
        for index, rule in parts.rules.items()
    )
    return Config(
        backends=tuple(_filled_in(backend, parts.top) for backend in parts.backends.values()),
        rules=rules,
        timeouts=parts.top.timeouts,
        retries=parts.top.retries,
        limits=parts.top.limits,
        dns=parts.top.dns,
        bind_addresses=_bind_addresses(parts.top, rules),
        access_log=parts.top.access_log,
        status_socket=parts.top.status_socket,
        report_address=parts.top.healthcheck_addr,
    )


def _check_presence(parts: Parts, document: Document) -> None:
    if not parts.top.backends:
        document.report(("backends",), "there is none", "a list of at least one backend")
    if not parts.top.rules:
        document.report(("rules",), "there is none", "a list of at least one rule")


def _check_backend_ids(parts: Parts, document: Document) -> None:
    first: dict[str, int] = {}
    for index, backend_id in parts.backend_ids.items():
        location = ("backends", index, "id")
        if first.setdefault(backend_id, index) != index:
            line = document.line(("backends", first[backend_id], "id"))
            message = f"backend {backend_id!r} is defined twice, first on line {line}"
            document.report(location, message, "a unique id")
        elif backend_id in parts.cluster_ids:
            line = document.line(("clusters", backend_id))
            message = f"{backend_id!r} is also the name of a cluster, on line {line}"
            document.report(location, message, "different names, as targets may be either")


def _check_rule_names(parts: Parts, document: Document) -> None:
    first: dict[str, int] = {}
    for index, rule in parts.rules.items():
        name = _rule_name(index, rule)
        if first.setdefault(name, index) != index:
            message = f"{name!r} is the name of rules[{first[name]}] too"
            document.report(("rules", index, "name"), message, "a unique name")


def _rule_name(index: int, rule: RuleSettings) -> str:
    return rule.name or f"rules[{index}]"


def _check_clusters(parts: Parts, document: Document) -> None:
    for cluster, members in parts.top.clusters.items():
        if not members:
            document.report(("clusters", cluster), "the cluster is empty", "ids of backends")
        for index, member in enumerate(members):
            if member in parts.known_ids:
                continue
            location = ("clusters", cluster, index)
            if member in parts.cluster_ids:
                document.report(location, f"{member!r} is a cluster", "the id of a backend")
            elif parts.known_ids:
                hint = document.suggestion(member, parts.known_ids)
                message = f"unknown backend {member!r}{hint}"
                document.report(location, message, "the id of a backend")


def _check_listeners(parts: Parts, document: Document) -> None:
    """No clients claimed by two rules; a port may have rules of both protocols (DNS does)."""
    owners: dict[tuple[str, ClientMatch], int] = {}
    for index, rule in parts.rules.items():
        for position, match in enumerate(rule.clients):
            owner = owners.setdefault((rule.protocol, match), index)
            if owner != index:
                location = ("rules", index, "clients", position)
                message = f"{match} belongs to rules[{owner}] already"
                document.report(location, message, "each CIDR:port in one rule")


def _resolve_rule(
    index: int,
    rule: RuleSettings,
    backend_ids: tuple[str, ...],
    parts: Parts,
    document: Document,
) -> Rule:
    location = ("rules", index)
    if not rule.clients:
        document.report((*location, "clients"), "is empty", "a list of CIDR:port")
    if not rule.targets:
        document.report((*location, "targets"), "is empty", "ids of clusters or backends")
    if rule.protocol == "udp":
        _check_udp_targets(index, backend_ids, parts, document)
    check_protocol(index, rule, document)
    check_points(index, rule, backend_ids, parts.by_id, document)
    return Rule(
        name=_rule_name(index, rule),
        clients=tuple(dict.fromkeys(rule.clients)),
        protocol=rule.protocol,
        backend_ids=backend_ids,
        strategy=rule.strategy,
        all_down=rule.all_down,
        timeouts=_overridden(parts.top.timeouts, rule.timeouts),
        retries=_overridden(parts.top.retries, rule.retries),
        queue=rule.queue,
        live_connections=_live(index, rule, document),
        access=rule.access,
        limits=rule.limits,
        passive=rule.passive,
        udp=rule.udp,
    )


def _check_udp_targets(
    index: int, backend_ids: Collection[str], parts: Parts, document: Document
) -> None:
    """A reply over a Unix datagram socket would need a path of its own on this side."""
    for backend_id in backend_ids:
        backend = parts.by_id.get(backend_id)
        if backend is not None and backend.address.family is AF_UNIX:
            message = f"{backend_id!r} is a Unix socket, which a UDP rule cannot use"
            document.report(
                ("rules", index, "targets"), message, "backends at IP:port or name:port"
            )


def _live(index: int, rule: RuleSettings, document: Document) -> LiveSettings:
    """The policy for live connections, with the protocol's default."""
    live = rule.live_connections
    for event in ("on_down", "on_drain", "on_removed"):
        if getattr(live, event) == "rebind" and rule.protocol != "udp":
            location = ("rules", index, "live_connections", event)
            expected = "keep, close or close_spread"
            document.report(location, "a TCP connection cannot move to another backend", expected)
    default = "rebind" if rule.protocol == "udp" else "close"
    return live.model_copy(update={"on_down": live.on_down or default})


def _filled_in(backend: BackendSettings, top: FileSettings) -> BackendSettings:
    """The backend with the global checks and ramp where it has none of its own."""
    return backend.model_copy(
        update={
            "health_check": backend.health_check or top.health_check,
            "agent_check": agent_check(backend, top),
            "slow_start": _overridden(top.slow_start, backend.slow_start),
        }
    )


class _Targets:
    """From the targets of rules to ids of backends, once where rules have the same targets."""

    def __init__(self, parts: Parts, document: Document) -> None:
        """Faults are reported to `document`."""
        self._parts = parts
        self._document = document
        self._resolved: dict[tuple[str, ...], tuple[str, ...]] = {}

    def resolve(self, index: int, rule: RuleSettings) -> tuple[str, ...]:
        """Of the rule at `index`: in the order written, each id once."""
        resolved = self._resolved.get(rule.targets)
        if resolved is None:
            resolved = tuple(dict.fromkeys(self._of_rule(index, rule)))
            if not self._document.problems:  # a fault is one of every rule that has it
                self._resolved[rule.targets] = resolved
        return resolved

    def _of_rule(self, index: int, rule: RuleSettings) -> Iterator[str]:
        parts = self._parts
        for position, target in enumerate(rule.targets):
            if target in parts.cluster_ids:
                yield from parts.top.clusters.get(target, ())
            elif target in parts.known_ids:
                yield target
            elif parts.target_names:
                hint = self._document.suggestion(target, parts.target_names)
                location = ("rules", index, "targets", position)
                message = f"unknown target {target!r}{hint}"
                self._document.report(location, message, "a cluster or a backend")


def _overridden(base: AnySettings, override: Settings) -> AnySettings:
    """`base`, with what was written in `override`."""
    if not override.model_fields_set:
        return base
    return base.model_copy(update=override.model_dump(exclude_unset=True))


def _bind_addresses(top: FileSettings, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """As set, else all IPv4 addresses, and all IPv6 ones where a rule has IPv6 clients."""
    if "bind_addresses" in top.model_fields_set:
        return tuple(dict.fromkeys(top.bind_addresses))
    ipv6 = any(match.network.version == 6 for rule in rules for match in rule.clients)
    return (*top.bind_addresses, "::") if ipv6 else top.bind_addresses
