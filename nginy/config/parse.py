"""Addresses, client networks and algorithm names as people write them."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeVar

from nginy.address import Address

Parsed = TypeVar("Parsed")

_MAPPED = IPv6Network("::ffff:0:0/96")


class InvalidValue(ValueError):
    """A setting's value cannot be used. `key` names the part of it that is meant."""

    def __init__(self, message: str, expected: str, key: str = "") -> None:
        """`expected` says what would be right."""
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.key = key


class ClientMatch(NamedTuple):
    """Clients of `network` that connect to `port` of the balancer."""

    network: IPv4Network | IPv6Network
    port: int

    def __str__(self) -> str:
        """`10.0.0.0/8:80` or `[2001:db8::/32]:80`."""
        network = f"[{self.network}]" if self.network.version == 6 else str(self.network)
        return f"{network}:{self.port}"


def parse_at(key: str, parse: Callable[[object], Parsed], value: object) -> Parsed:
    """`parse(value)`, with the InvalidValue it may raise placed at `key`."""
    try:
        return parse(value)
    except InvalidValue as error:
        raise InvalidValue(error.message, error.expected, key) from None


def parse_host(text: object) -> str:
    """An IP address in its usual text form. Names are not resolved. Raises InvalidValue."""
    try:
        if isinstance(text, str):
            return str(ip_address(text))
    except ValueError:
        pass
    raise InvalidValue(
        f"{text!r} is not an IP address", "one such as 10.0.1.11; names are not resolved"
    )


def parse_port(text: object) -> int:
    """A port number, 1 to 65535. Raises InvalidValue."""
    digits = str(text)
    # isdecimal, because int() also takes "+80", " 80" and "8_0".
    if digits.isdecimal() and len(digits) <= 5 and 1 <= int(digits) <= 65535:
        return int(digits)
    raise InvalidValue(f"{text!r} is not a port", "a number from 1 to 65535")


def parse_address(value: object) -> Address:
    """`10.0.1.11:8081` or `[2001:db8::1]:8081`. Raises InvalidValue."""
    if isinstance(value, Address):
        return value
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise InvalidValue(
            f"{value!r} cannot be read", "IP:port, such as 10.0.1.11:8081 or [2001:db8::1]:80"
        )
    return Address(parse_host(host[1:-1] if bracketed else host), parse_port(port))


def parse_client(value: object) -> ClientMatch:
    """`CIDR:port`, split at the last colon; an IPv6 network may stand in brackets.

    An address without a prefix length stands for itself alone. A network with host bits set is
    refused (as the original project did): it is either a typing error or a single host. An
    IPv4-mapped IPv6 network is the IPv4 network it stands for, because clients of a dual-stack
    listener are looked up by their IPv4 address; other IPv6 networks hold no IPv4 client.
    Raises InvalidValue.
    """
    if isinstance(value, ClientMatch):
        return value
    text, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon:
        raise InvalidValue(f"{value!r} cannot be read", "CIDR:port, such as 10.0.0.0/8:8080")
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return ClientMatch(_parse_network(text), parse_port(port))


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    if "%" in text:
        raise InvalidValue(f"{text!r} names an interface", "the network alone")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidValue(f"{text!r} is not a network", "a CIDR such as 10.0.0.0/8") from None
    host = text.partition("/")[0]
    if network.network_address != ip_address(host):
        alone = f"{host}/{network.max_prefixlen}"
        raise InvalidValue(f"{text!r} has host bits set", f"{network}, or {alone} for one host")
    return _unmapped(network)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    host = IPv6Address(network.network_address).ipv4_mapped
    return IPv4Network(f"{host}/{network.prefixlen - _MAPPED.prefixlen}")


def parse_strategy_type(name: object, known: Iterable[str]) -> str:
    """One of `known`; the original project's spellings are understood. Raises InvalidValue."""
    known = tuple(known)
    if name in known:
        return str(name)
    if name == "RoundRobin":
        return "round_robin"
    one_of = f"one of {', '.join(known)}"
    if name == "Adaptive":
        raise InvalidValue("Adaptive is not available in this version of nginy", one_of, "type")
    hint = suggestion(str(name), known)
    raise InvalidValue(f"unknown strategy {name!r}{hint}", one_of, "type")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where something known is spelt alike, else nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
