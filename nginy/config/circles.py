"""Rules that send to the balancer itself: one connection would become endlessly many."""

from collections.abc import Callable, Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from nginy.address import Address, NumericAddress, numeric_address
from nginy.config.document import Document
from nginy.config.model import Config, Protocol, Rule
from nginy.config.route import RouteTable

IsOwn = Callable[[str], bool]
"""Whether an IP address is one of this machine."""
_LOOPBACK = {32: 0x7F000001, 128: 1}
_EXPECTED = "an address where another server listens"
Entered = Mapping[str, Rule]
"""By the id of a backend that is this balancer: the rule that its connections fall under."""


def check_circles(config: Config, is_own: IsOwn, document: Document) -> None:
    """Report rules that lead back to themselves, over one backend or through other rules.

    A rule that leads to another one and on to servers is none. Names are not resolved; see
    `nginy/traffic/loops.py`.
    """
    protocols: tuple[Protocol, ...] = ("tcp", "udp")
    for protocol in protocols:
        rules = [rule for rule in config.rules if rule.protocol == protocol]
        entered = dict(_entered(config, protocol, rules, is_own))
        if entered:
            _check_rules(config, rules, entered, document)


def _entered(
    config: Config, protocol: Protocol, rules: list[Rule], is_own: IsOwn
) -> Iterator[tuple[str, Rule]]:
    ports = {port for which, port in config.ports if which == protocol}
    bound = {numeric_address(host) for host in config.bind_addresses}
    if config.dual_stack:
        bound.add(NumericAddress(32, 0))
    table = RouteTable(rules)
    for backend in config.backends:
        source = (
            _own_source(backend.address, bound, is_own) if backend.address.port in ports else ""
        )
        rule = table.lookup(source, backend.address.port) if source else None
        if rule is not None:
            yield backend.id, rule


def _own_source(address: Address, bound: Collection[NumericAddress], is_own: IsOwn) -> str:
    """Where a connection to `address` comes from if it arrives at this balancer; else nothing.

    To an address of its own, the kernel connects from that address, and from 127.0.0.1 to all of
    127.0.0.0/8. Connecting to the unspecified address is connecting to the loopback one.
    """
    host = "127.0.0.1" if address.host == "localhost" else address.host
    if Address(host, 0).family not in (AF_INET, AF_INET6):
        return ""
    bits, value = numeric_address(host)
    value = value or _LOOPBACK[bits]
    host = str(IPv4Address(value) if bits == 32 else IPv6Address(value))
    loopback = value >> 24 == 127 if bits == 32 else value == _LOOPBACK[128]
    everywhere = NumericAddress(bits, 0) in bound and (loopback or is_own(host))
    if not everywhere and NumericAddress(bits, value) not in bound:
        return ""
    if loopback:
        return "127.0.0.1" if bits == 32 else "::1"
    return host


def _check_rules(config: Config, rules: list[Rule], entered: Entered, document: Document) -> None:
    places = {backend.id: index for index, backend in enumerate(config.backends)}

    def report(backend_id: str, names: str) -> None:
        index = places[backend_id]
        message = f"{config.backends[index].address} is this balancer, and {names}"
        document.report(("backends", index, "address"), message, _EXPECTED)

    ways: dict[str, dict[str, str]] = {}
    for rule in rules:
        own = [backend_id for backend_id in rule.backend_ids if backend_id in entered]
        for backend_id in own:
            if entered[backend_id] is rule:
                report(backend_id, f"{rule.name} would send to itself")
        ways[rule.name] = {
            entered[backend_id].name: backend_id
            for backend_id in own
            if entered[backend_id] is not rule
        }
    try:
        TopologicalSorter(ways).prepare()
    except CycleError as error:
        names = error.args[1][::-1]
        report(ways[names[0]][names[1]], f"{' -> '.join(names)} is a circle")
