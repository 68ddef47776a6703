"""Health checks, agents, DNS, slow start, and what a rule does when a backend goes: as written."""

from socket import AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC, AddressFamily

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nginy.address import Address
from nginy.config.load import parse
from nginy.config.model import Config
from nginy.config.parse import InvalidValue, parse_bytes, parse_endpoint, parse_pattern

RULE = 'rules: [{clients: ["0.0.0.0/0:8080"], targets: [a, b]}]'


def config(first: str = "", second: str = "", top: str = "", rules: str = RULE) -> Config:
    return parse(
        "backends:\n"
        f'  - {{id: a, address: "192.0.2.1:80"{first}}}\n'
        f'  - {{id: b, address: "192.0.2.2:80"{second}}}\n'
        f"{top}\n{rules}",
        "f",
    )


def test_without_a_word_nothing_is_checked() -> None:
    for backend in config().backends:
        assert (backend.health_check, backend.agent_check) == (None, None)
        assert backend.slow_start.duration_s == 0
        assert not backend.backup


def test_global_checks_are_of_every_backend_that_has_none_of_its_own() -> None:
    first, second = config(
        ", health_check: {interval_s: 9}",
        ", agent_check: {port: 9}",
        "health_check: {rise: 7}\nagent_check: {port: 1, send: ask}",
    ).backends
    assert first.health_check is not None
    assert second.health_check is not None
    assert (first.health_check.interval_s, first.health_check.rise) == (9.0, 2)
    assert (second.health_check.interval_s, second.health_check.rise) == (2.0, 7)
    assert first.agent_check is not None
    assert second.agent_check is not None
    assert (first.agent_check.port, first.agent_check.send) == (1, b"ask")
    assert (second.agent_check.port, second.agent_check.send) == (9, None)


def test_slow_start_is_overridden_setting_by_setting() -> None:
    first, second = config(
        ", slow_start: {floor_pct: 50}", top="slow_start: {duration_s: 30, floor_pct: 20}"
    ).backends
    assert (first.slow_start.duration_s, first.slow_start.floor_pct) == (30.0, 50.0)
    assert (second.slow_start.duration_s, second.slow_start.floor_pct) == (30.0, 20.0)


def test_a_global_agent_is_not_asked_of_a_unix_socket() -> None:
    _, unix = parse(
        'backends: [{id: a, address: "192.0.2.1:80"}, {id: b, address: "unix:/run/b"}]\n'
        f"agent_check: {{port: 1}}\n{RULE}",
        "f",
    ).backends
    assert unix.agent_check is None
    assert unix.address == Address("/run/b", 0)


@pytest.mark.parametrize(
    ("written", "data"),
    [
        ("PING\\r\\n", b"PING\r\n"),
        ("hex:00ff0A", b"\0\xff\n"),
        ("hexa", b"hexa"),
        ("é", b"\xc3\xa9"),
    ],
)
def test_bytes_to_send(written: str, data: bytes) -> None:
    (backend, _) = config(f', health_check: {{send: "{written}"}}').backends
    assert backend.health_check is not None
    assert backend.health_check.send == data


@pytest.mark.parametrize(
    ("written", "answer", "expected"),
    [
        ("a.c", b"xxa.cxx", True),
        ("a.c", b"abc", False),
        ("hex:2e2a", b"..*", True),
        ("regex:^OK", b"OK then", True),
        ("regex:^OK", b"not OK", False),
        ("regex:\\x00{2}", b"a\0\0", True),
    ],
)
def test_what_is_expected(written: str, answer: bytes, expected: bool) -> None:
    assert parse_pattern(written).found_in(answer) is expected


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_that_finds_itself_or_an_error(text: str) -> None:
    try:
        pattern = parse_pattern(text)
    except InvalidValue:
        assert not text or text.startswith(("hex:", "regex:"))
        return
    if not text.startswith("regex:"):
        assert pattern.found_in(b"x" + parse_bytes(text) + b"y")


@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_can_be_written(data: bytes) -> None:
    assert parse_bytes(f"hex:{data.hex()}") == data
    pattern = parse_pattern(f"hex:{data.hex()}")
    assert pattern.found_in(b"x" + data + b"y")
    assert not pattern.found_in(data[:-1])


@pytest.mark.parametrize(
    ("written", "address", "family"),
    [
        ("10.0.0.1:80", Address("10.0.0.1", 80), AF_INET),
        ("[2001:DB8::0:1]:80", Address("2001:db8::1", 80), AF_INET6),
        ("Web.Example:80", Address("web.example", 80), AF_UNSPEC),
        ("localhost:80", Address("localhost", 80), AF_UNSPEC),
        ("my_service.:80", Address("my_service.", 80), AF_UNSPEC),
        ("1web:80", Address("1web", 80), AF_UNSPEC),
        ("unix:/run/a:b", Address("/run/a:b", 0), AF_UNIX),
    ],
)
def test_kinds_of_endpoints(written: str, address: Address, family: AddressFamily) -> None:
    endpoint = parse_endpoint(written)
    assert endpoint == address
    assert endpoint.family is family


@pytest.mark.parametrize(
    "written",
    ["web", ":80", "10.0.0:80", "-web:80", "we b:80", "web:port", f"{'x' * 64}:80", "::1:80",
     f"{'x.' * 127}:80", "unix:", "unix:/a\0b", 7, None],
)  # fmt: skip
def test_what_is_no_endpoint(written: object) -> None:
    with pytest.raises(InvalidValue):
        parse_endpoint(written)


def test_nameservers_have_a_port() -> None:
    dns = config(top='dns: {nameservers: [10.0.0.1, "10.0.0.2:5353", "::1", "[::1]:54"]}').dns
    assert dns.nameservers == (
        Address("10.0.0.1", 53),
        Address("10.0.0.2", 5353),
        Address("::1", 53),
        Address("::1", 54),
    )


@pytest.mark.parametrize(("protocol", "on_down"), [("tcp", "close"), ("udp", "rebind")])
def test_what_happens_to_live_ones_by_default(protocol: str, on_down: str) -> None:
    (rule,) = config(
        rules=f'rules: [{{clients: ["0.0.0.0/0:1"], targets: [a], protocol: {protocol}}}]'
    ).rules
    live = rule.live_connections
    assert (live.on_down, live.on_drain, live.on_removed) == (on_down, "keep", "keep")


def test_one_port_may_serve_both_protocols() -> None:
    rules = """
rules:
  - {clients: ["0.0.0.0/0:53"], targets: [a]}
  - {clients: ["0.0.0.0/0:53"], targets: [a], protocol: udp}
"""
    assert config(rules=rules).ports == (("tcp", 53), ("udp", 53))


def test_weight_0_and_backups_alone_are_a_valid_choice() -> None:
    first, second = config(", weight: 0, backup: true", ", weight: 0, backup: true").backends
    assert (first.weight, second.backup) == (0, True)
