"""Files that load: what is read, what is filled in, and how rules inherit."""

from ipaddress import ip_network
from pathlib import Path
from textwrap import dedent

import pytest

from nginy.address import Address
from nginy.config import schema
from nginy.config.load import load, parse
from nginy.config.parse import ClientMatch
from nginy.config.strategies import AdaptiveSettings

ORIGINAL = Path(__file__).parents[2] / "data" / "config" / "original.yaml"

MINIMAL = """
backends: [{id: a, address: "192.0.2.1:80"}]
rules: [{clients: ["0.0.0.0/0:8080"], targets: [a]}]
"""


def test_the_original_projects_file_loads_unchanged() -> None:
    config = load(ORIGINAL)
    assert [(backend.id, backend.address) for backend in config.backends] == [
        ("srv-1", Address("10.0.1.11", 8081)),
        ("srv-2", Address("10.0.1.12", 8082)),
        ("srv-3", Address("10.0.1.13", 8083)),
    ]
    first, second = config.rules
    assert first.clients == (
        ClientMatch(ip_network("0.0.0.0/0"), 8080),
        ClientMatch(ip_network("10.0.0.0/24"), 8080),
    )
    assert first.backend_ids == ("srv-1", "srv-2")
    assert second.backend_ids == ("srv-1", "srv-3")
    assert {rule.strategy.type for rule in config.rules} == {"round_robin"}
    assert config.ports == (("tcp", 6767), ("tcp", 8080))
    assert config.bind_addresses == ("0.0.0.0", "::")


def test_its_adaptive_strategy_has_its_parameters() -> None:
    text = ORIGINAL.read_text().replace(
        'type: "RoundRobin"',
        'type: "Adaptive"\n      coefficients: [1.5, 1, 0.5, 0.1]\n      alpha: 0.75',
        1,
    )
    adaptive = parse(text, "original.yaml").rules[0].strategy
    assert isinstance(adaptive, AdaptiveSettings)
    assert (adaptive.coefficients, adaptive.alpha) == ((1.5, 1.0, 0.5, 0.1), 0.75)


@pytest.mark.parametrize(
    ("written", "strategy"),
    [("RoundRobin", "round_robin"), ("SourceIPHash", "source_hash"), ("Adaptive", "adaptive")],
)
def test_its_names_of_strategies(written: str, strategy: str) -> None:
    text = ORIGINAL.read_text().replace('type: "RoundRobin"', f'type: "{written}"')
    assert {rule.strategy.type for rule in parse(text, "f").rules} == {strategy}


def test_the_example_of_the_schema_loads() -> None:
    example = (schema.__doc__ or "").partition("\n\n")[2].partition("\n\n")[2]
    config = parse(dedent(example), "schema")
    assert config.rules[0].backend_ids == ("srv-1", "srv-2")
    assert config.rules[0].strategy.type == "least_conn"


def test_defaults() -> None:
    config = parse(MINIMAL, "f")
    (rule,) = config.rules
    assert (rule.name, rule.protocol, rule.strategy.type) == ("rules[0]", "tcp", "round_robin")
    assert (rule.timeouts.connect_timeout_ms, rule.timeouts.idle_timeout_ms) == (5000, 600_000)
    assert rule.timeouts.half_closed_timeout_ms == 30_000
    assert (rule.retries.max_tries, rule.retries.total_timeout_ms) == (3, 10_000)
    assert config.timeouts.drain_timeout_ms == 30_000
    assert config.bind_addresses == ("0.0.0.0",)
    assert config.access_log is None
    (backend,) = config.backends
    assert (backend.weight, backend.max_connections, backend.max_fails) == (1, 0, 0)
    assert (backend.fail_timeout_s, backend.down) == (10.0, False)


def test_a_section_without_content_is_as_if_absent() -> None:
    assert parse(MINIMAL + "clusters:\ntimeouts:\naccess_log:\n", "f") == parse(MINIMAL, "f")


def test_a_rule_overrides_only_what_it_sets() -> None:
    config = parse(
        """
backends: [{id: a, address: "192.0.2.1:80"}]
timeouts: {connect_timeout_ms: 11, idle_timeout_ms: 12}
retries: {max_tries: 7}
rules:
  - {clients: ["0.0.0.0/0:1"], targets: [a], timeouts: {idle_timeout_ms: 99}}
  - {clients: ["0.0.0.0/0:2"], targets: [a], retries: {total_timeout_ms: 5}}
""",
        "f",
    )
    first, second = config.rules
    assert (first.timeouts.connect_timeout_ms, first.timeouts.idle_timeout_ms) == (11, 99)
    assert (second.timeouts.connect_timeout_ms, second.timeouts.idle_timeout_ms) == (11, 12)
    assert (first.retries.max_tries, first.retries.total_timeout_ms) == (7, 10_000)
    assert (second.retries.max_tries, second.retries.total_timeout_ms) == (7, 5)


def test_backend_settings_are_read() -> None:
    text = MINIMAL.replace(
        "}]\nrules",
        ", weight: 3, max_connections: 9, max_fails: 2, fail_timeout_s: 4, down: true}]\nrules",
    )
    (backend,) = parse(text, "f").backends
    assert (backend.weight, backend.max_connections, backend.max_fails) == (3, 9, 2)
    assert (backend.fail_timeout_s, backend.down) == (4.0, True)


@pytest.mark.parametrize("key", ["ip", "address"])
def test_ipv6_backends(key: str) -> None:
    text = MINIMAL.replace('address: "192.0.2.1:80"', f'{key}: "[2001:DB8:0::1]:80"')
    assert parse(text, "f").backends[0].address == Address("2001:db8::1", 80)


def test_addresses_to_listen_on() -> None:
    text = MINIMAL + 'bind_addresses: ["127.0.0.1", "::1", "127.0.0.1"]'
    assert parse(text, "f").bind_addresses == ("127.0.0.1", "::1")


def test_the_same_port_may_serve_several_rules() -> None:
    config = parse(
        """
backends: [{id: a, address: "192.0.2.1:80"}]
rules:
  - {clients: ["0.0.0.0/0:1", "0.0.0.0/0:1"], targets: [a], name: all}
  - {clients: ["10.0.0.0/8:1"], targets: [a]}
""",
        "f",
    )
    assert [rule.name for rule in config.rules] == ["all", "rules[1]"]
    assert config.rules[0].clients == (ClientMatch(ip_network("0.0.0.0/0"), 1),)
    assert config.ports == (("tcp", 1),)
