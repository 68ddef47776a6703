"""What a correct file says without an effect, or with another one than was meant."""

from itertools import islice

from nginy.config.document import Document
from nginy.config.model import Config
from nginy.config.resolve import Parts
from nginy.config.schema import FileSettings, RuleSettings
from nginy.config.strategies import AdaptiveSettings

NAMED = 3
"""Of many backends with the same fault."""


def warn_of_effects(config: Config, parts: Parts, document: Document) -> None:
    """Warn of what can be told from the file alone: `parts`, which became `config` without a
    problem."""
    used = set[str]().union(*(rule.backend_ids for rule in config.rules))
    for index, backend in enumerate(config.backends):
        if backend.id not in used:
            message = f"no rule sends to {backend.id!r}"
            document.warn(("backends", index), message, "it in a rule's targets, or not here")
    _warn_of_tcp_check(config, parts.top, document)
    waits = {each.id for each in config.backends if each.max_connections or each.agent_check}
    for index, rule in enumerate(config.rules):
        _warn_of_clients(index, parts.rules[index], config, document)
        if rule.queue.max_waiting and waits.isdisjoint(rule.backend_ids):
            message = "has no effect: no backend of the rule has max_connections, so none is full"
            document.warn(("rules", index, "queue"), message, "max_connections of its backends")
        if isinstance(rule.strategy, AdaptiveSettings) and config.report_address is None:
            message = "has nothing to adapt to: no load reports are listened for"
            document.warn(("rules", index, "strategy"), message, "healthcheck_addr: IP:port")


def _warn_of_tcp_check(config: Config, top: FileSettings, document: Document) -> None:
    check = top.health_check
    if check is None or check.type != "tcp" or check.port is not None:
        return
    by_protocol: dict[str, set[str]] = {"tcp": set(), "udp": set()}
    for rule in config.rules:
        by_protocol[rule.protocol].update(rule.backend_ids)
    only_udp = by_protocol["udp"] - by_protocol["tcp"]
    checked = [
        backend.id
        for backend in config.backends
        if backend.id in only_udp and backend.health_check is check
    ]
    if checked:
        message = (
            f"connects by TCP to {_named(checked)}, which only UDP rules use: without a TCP"
            " service at the same port, they count as down"
        )
        expected = "a health_check of their own, {type: udp, send: ...} or with a port"
        document.warn(("health_check",), message, expected)


def _named(ids: list[str]) -> str:
    more = len(ids) - NAMED
    return ", ".join(islice(ids, NAMED)) + (f" and {more} more" if more > 0 else "")


def _warn_of_clients(index: int, rule: RuleSettings, config: Config, document: Document) -> None:
    for position, match in enumerate(rule.clients):
        version = match.network.version
        if version not in config.bound_versions:
            wildcard = "0.0.0.0" if version == 4 else "::"
            message = f"none of them can come: no bind address is IPv{version}"
            expected = f'"{wildcard}", or another of IPv{version}, in bind_addresses'
            document.warn(("rules", index, "clients", position), message, expected)
