"""Addresses, client networks and algorithm names as people write them."""

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeVar

from nginy.address import Address
from nginy.config.pattern import InvalidPattern, Pattern, literal, regular_expression

Parsed = TypeVar("Parsed")

DNS_PORT = 53

_MAPPED = IPv6Network("::ffff:0:0/96")


class InvalidValue(ValueError):
    """A setting's value cannot be used. `key` names the part of it that is meant."""

    def __init__(self, message: str, expected: str, key: str = "") -> None:
        """`expected` says what would be right."""
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.key = key


Network = IPv4Network | IPv6Network


class ClientMatch(NamedTuple):
    """Clients of `network` that connect to `port` of the balancer."""

    network: Network
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
    raise InvalidValue(f"{text!r} is not an IP address", "one such as 10.0.1.11")


def parse_socket_path(value: object) -> str:
    """An absolute path, or `off`. Raises InvalidValue."""
    if isinstance(value, str) and (value == "off" or (value[:1] == "/" and "\0" not in value)):
        return value
    raise InvalidValue(f"{value!r} is not a path from the root", "one such as /run/lb.sock, or off")


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
    host, port = _split_port(value, "IP:port, such as 10.0.1.11:8081 or [2001:db8::1]:80")
    return Address(parse_host(host), parse_port(port))


def parse_endpoint(value: object) -> Address:
    """Where a backend is: as `parse_address`, `name:port`, or `unix:/path`. Raises InvalidValue."""
    if isinstance(value, Address):
        return value
    if isinstance(value, str) and value.startswith("unix:"):
        return _parse_unix(value.removeprefix("unix:"))
    host, port = _split_port(value, "IP:port, name:port or unix:/path")
    if _NAME.fullmatch(host) and not _NUMBERS.fullmatch(host):
        return Address(host.lower(), parse_port(port))
    return Address(parse_host(host), parse_port(port))


_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_NUMBERS = re.compile(r"[0-9.]+")
UNIX_PATH_BYTES = 107
"""sun_path of Linux without its final zero."""


def _parse_unix(path: str) -> Address:
    if not path.startswith("/") or len(path.encode()) > UNIX_PATH_BYTES or "\0" in path:
        raise InvalidValue(
            f"{path!r} is not the path of a socket",
            f"unix:/path, absolute, of at most {UNIX_PATH_BYTES} bytes",
        )
    return Address(path, 0)


def _split_port(value: object, expected: str) -> tuple[str, str]:
    """Host without brackets, and port."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise InvalidValue(f"{value!r} cannot be read", expected)
    return host[1:-1] if bracketed else host, port


def parse_nameserver(value: object) -> Address:
    """`IP` or `IP:port`, the port being 53 if not given. Raises InvalidValue."""
    if isinstance(value, Address):
        return value
    try:
        return Address(parse_host(value), DNS_PORT)
    except InvalidValue:
        return parse_address(value)


def parse_bytes(value: object) -> bytes:
    """Text, or `hex:0a0b` for bytes that are none. Raises InvalidValue."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise InvalidValue(f"{value!r} cannot be read", "text, or hex:0a0b")
    if not value.startswith("hex:"):
        return value.encode()
    try:
        data = bytes.fromhex(value.removeprefix("hex:"))
    except ValueError:
        data = b""
    if not data:
        raise InvalidValue(f"{value!r} is not hexadecimal", "pairs of digits such as hex:0a0b")
    return data


def parse_pattern(value: object) -> Pattern:
    """As `parse_bytes`, or `regex:^OK`, matched with bytes. Raises InvalidValue."""
    if isinstance(value, Pattern):
        return value
    if not isinstance(value, str) or not value.startswith("regex:"):
        return literal(parse_bytes(value))
    try:
        return regular_expression(value.removeprefix("regex:").encode())
    except InvalidPattern as error:
        raise InvalidValue(f"not a regular expression: {error}", error.remedy) from None


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


def parse_networks(value: object) -> tuple[Network, ...]:
    """One CIDR, or `all` for every IPv4 and IPv6 address. Raises InvalidValue."""
    if isinstance(value, tuple):
        return value
    if value == "all":
        return (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    return (_parse_network(str(value)),)


def _parse_network(text: str) -> Network:
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


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    host = IPv6Address(network.network_address).ipv4_mapped
    return IPv4Network(f"{host}/{network.prefixlen - _MAPPED.prefixlen}")


def parse_strategy_type(name: object, known: Iterable[str], synonyms: Mapping[str, str]) -> str:
    """One of `known`, or what it is called in `synonyms`. Raises InvalidValue."""
    known = tuple(known)
    if name in known:
        return str(name)
    if str(name) in synonyms:
        return synonyms[str(name)]
    hint = suggestion(str(name), known)
    one_of = f"one of {', '.join(known)}"
    raise InvalidValue(f"unknown strategy {name!r}{hint}", one_of, "type")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where something known is spelt alike, else nothing."""
    near = closest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def closest(word: str, known: Iterable[str]) -> str:
    """What is known and spelt alike; empty: nothing is."""
    return next(iter(get_close_matches(word, list(known), n=1)), "")
