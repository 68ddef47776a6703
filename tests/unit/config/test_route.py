"""The longest prefix on the port wins, whatever the order of the rules."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.config.load import parse
from nginy.config.model import Rule
from nginy.config.parse import ClientMatch
from nginy.config.route import RouteTable

ANY_RULE = parse(
    """
backends: [{id: b, address: "192.0.2.1:80"}]
rules: [{clients: ["0.0.0.0/0:1"], targets: [b]}]
""",
    "f",
).rules[0]


def make_rule(name: str, *clients: ClientMatch) -> Rule:
    return replace(ANY_RULE, name=name, clients=clients)


def match(cidr: str, port: int) -> ClientMatch:
    return ClientMatch(ip_network(cidr), port)


TABLE = RouteTable(
    [
        make_rule("all", match("0.0.0.0/0", 80), match("::/0", 80)),
        make_rule("ten", match("10.0.0.0/8", 80), match("10.0.0.0/8", 81)),
        make_rule("one", match("10.1.2.3/32", 80), match("2001:db8::1/128", 80)),
        make_rule("doc", match("2001:db8::/32", 80)),
    ]
)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("192.0.2.1", 80, "all"),
        ("10.9.9.9", 80, "ten"),
        ("10.1.2.3", 80, "one"),
        ("10.1.2.3", 81, "ten"),
        ("192.0.2.1", 81, None),
        ("10.1.2.3", 82, None),
        ("::1", 80, "all"),
        ("2001:db8::2", 80, "doc"),
        ("2001:db8::1", 80, "one"),
        ("2001:db8::1%eth0", 80, "one"),
        ("::1", 81, None),
        ("::ffff:10.1.2.3", 80, "one"),
        ("::ffff:10.1.2.3", 81, "ten"),
    ],
)
def test_lookup(host: str, port: int, expected: str | None) -> None:
    rule = TABLE.lookup(host, port)
    assert (rule and rule.name) == expected


def test_0_0_0_0_does_not_shadow_the_more_specific_rule() -> None:
    """The original sorted prefixes ascending, so that its first rule always won."""
    config = parse(
        """
backends: [{id: a, address: "192.0.2.1:80"}]
rules:
  - {clients: ["0.0.0.0/0:8080"], targets: [a], name: all}
  - {clients: ["10.0.0.0/24:8080"], targets: [a], name: ten}
""",
        "f",
    )
    rule = RouteTable(config.rules).lookup("10.0.0.7", 8080)
    assert rule is not None
    assert rule.name == "ten"


def test_a_mapped_network_means_the_ipv4_network() -> None:
    config = parse(
        """
backends: [{id: a, address: "192.0.2.1:80"}]
rules: [{clients: ["[::ffff:10.0.0.0/104]:80"], targets: [a]}]
""",
        "f",
    )
    assert config.rules[0].clients == (match("10.0.0.0/8", 80),)


# Few distinct bits, so that prefixes contain one another and clients hit them.
ipv4 = st.integers(0, 0xFF).map(lambda n: IPv4Address((n & 0xF) << 28 | n >> 4))
ipv6 = st.integers(0, 0xFF).map(lambda n: IPv6Address((n & 0xF) << 124 | n >> 4))
ports = st.sampled_from([80, 81])


@st.composite
def client_matches(draw: st.DrawFn) -> ClientMatch:
    address = draw(st.one_of(ipv4, ipv6))
    length = draw(st.integers(0, address.max_prefixlen))
    return ClientMatch(ip_network((address, length), strict=False), draw(ports))


@given(
    matches=st.lists(client_matches(), unique=True, max_size=12),
    client=st.one_of(ipv4, ipv6),
    port=ports,
)
def test_agrees_with_trying_every_network(
    matches: list[ClientMatch], client: IPv4Address | IPv6Address, port: int
) -> None:
    table = RouteTable(make_rule(str(m), m) for m in matches)
    fitting = [m for m in matches if m.port == port and client in m.network]
    longest = max(fitting, key=lambda m: m.network.prefixlen, default=None)
    rule = table.lookup(str(client), port)
    assert (rule and rule.name) == (longest and str(longest))


@given(matches=st.lists(client_matches(), min_size=1, unique=True, max_size=6), data=st.data())
def test_clients_are_read_as_they_are_written(
    matches: list[ClientMatch], data: st.DataObject
) -> None:
    written = [str(m) for m in matches]
    if data.draw(st.booleans()):  # an IPv6 network without brackets, split at the last colon
        written = [text.replace("[", "").replace("]", "") for text in written]
    config = parse(
        f"backends: [{{id: a, address: '192.0.2.1:80'}}]\n"
        f"rules: [{{clients: {written}, targets: [a]}}]\n",
        "f",
    )
    assert config.rules[0].clients == tuple(matches)
