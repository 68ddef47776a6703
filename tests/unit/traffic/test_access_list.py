"""Access lists: the first line that matches decides, whatever the prefix lengths."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import numeric_address
from nginy.config.guard_settings import AccessSettings
from nginy.traffic.admission import AccessList


def access(*lines: str) -> AccessList:
    """Lines as `allow 10.0.0.0/8`."""
    return AccessList([AccessSettings(**dict([line.split()])) for line in lines])


def allows(rules: AccessList, host: str) -> bool:
    return rules.allows(numeric_address(host))


def test_nothing_listed_allows_everybody():
    assert allows(access(), "10.0.0.1")
    assert allows(access(), "2001:db8::1")


def test_who_is_in_no_line_is_allowed():
    assert allows(access("deny 10.0.0.0/8"), "11.0.0.1")


def test_first_matching_line_wins_over_a_longer_prefix():
    rules = access("deny 10.0.0.0/8", "allow 10.1.2.3/32", "deny all")
    assert not allows(rules, "10.1.2.3")


def test_exceptions_stand_in_front():
    rules = access("allow 10.1.2.3", "deny 10.0.0.0/8", "allow all")
    assert allows(rules, "10.1.2.3")
    assert not allows(rules, "10.1.2.4")
    assert allows(rules, "192.0.2.1")


def test_all_means_both_families():
    rules = access("allow 10.0.0.0/8", "deny all")
    assert not allows(rules, "192.0.2.1")
    assert not allows(rules, "2001:db8::1")


@pytest.mark.parametrize("host", ["::ffff:10.0.0.1", "::FFFF:a00:1"])
def test_mapped_client_counts_as_ipv4(host):
    assert not allows(access("deny 10.0.0.0/8"), host)
    assert allows(access("deny ::/0"), host)


def test_scope_of_an_ipv6_client_is_ignored():
    assert not allows(access("deny fe80::/10"), "fe80::1%eth0")


addresses = st.one_of(
    st.integers(0, 255).map(lambda low: ipaddress.IPv4Address(0x0A000000 + low)),
    st.integers(0, 255).map(lambda low: ipaddress.IPv6Address((0x20010DB8 << 96) + low)),
)


@st.composite
def networks(draw):
    """Narrow enough to meet the few addresses drawn, often."""
    address = draw(addresses)
    bits = address.max_prefixlen - draw(st.integers(0, 9))
    return ipaddress.ip_network(f"{address}/{bits}", strict=False)


@given(
    lines=st.lists(st.tuples(st.sampled_from(["allow", "deny"]), networks()), max_size=12),
    client=addresses,
)
def test_agrees_with_reading_line_by_line(lines, client):
    rules = access(*(f"{verb} {network}" for verb, network in lines))
    verdict = next((verb for verb, network in lines if client in network), "allow")
    assert allows(rules, str(client)) == (verdict == "allow")


def test_an_earlier_line_wins_whichever_lengths_are_looked_at_first():
    rules = access("deny 10.9.9.9/32", "deny 10.8.8.0/24", "allow 10.1.1.1/32", "deny 10.1.1.0/24")
    assert allows(rules, "10.1.1.1")
    assert not allows(rules, "10.1.1.2")
