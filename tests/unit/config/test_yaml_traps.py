"""What YAML makes of text that looks like something else: read as meant, or told how to write."""

import pytest

from nginy.config.load import parse
from nginy.errors import ConfigError

# What begins with "@" is replaced, by what is RIGHT or by a trap.
TEMPLATE = """\
backends:
  - {id: @id, address: @address}
rules:
  - name: @name
    clients: @clients
    targets: [@id]
"""
RIGHT = {
    "@id": "a",
    "@address": '"10.0.1.11:81"',
    "@name": "web",
    "@clients": '["0.0.0.0/0:8080"]',
}
IPV6 = """(expected quotes around an IPv6 address, such as "[::1]:80" or "::")"""


def file_with(**values: str) -> str:
    text = TEMPLATE
    for place, value in (RIGHT | {f"@{key}": value for key, value in values.items()}).items():
        text = text.replace(place, value)
    return text


def problems(text: str) -> list[str]:
    try:
        parse(text, "f")
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("text", ["22:22", "2024-01-01", "2001-12-14 21:59:43.10", "no", "1.2.3"])
def test_text_without_quotes(text: str) -> None:
    config = parse(file_with(name=text), "f")
    assert config.rules[0].name == text


@pytest.mark.parametrize("text", ["1", "010", "0x1F", "1.50", "true", "1e3", ".inf"])
def test_what_is_not_text_wants_quotes(text: str) -> None:
    expected = f'f:4:11: rules[0].name: {text} is not text (expected quotes: "{text}")'
    assert problems(file_with(name=text)) == [expected]
    assert problems(file_with(name=f'"{text}"')) == []
    assert f'f:2:10: backends[0].id: {text} is not text (expected quotes: "{text}")' in problems(
        file_with(id=text)
    )


@pytest.mark.parametrize("version", ["1.1", "1.0", "3.1"])
def test_another_yaml_is_refused(version: str) -> None:
    expected = f"%YAML {version} is not supported (expected YAML 1.2, without this line)"
    assert problems(f"# first\n%YAML {version}\n---\n{file_with()}") == [f"f:2: {expected}"]


def test_this_yaml_may_be_named() -> None:
    assert problems(f"%YAML 1.2\n---\n{file_with()}") == []


@pytest.mark.parametrize("address", ["[::1]:80", "[2001:db8::1]:80", "[::]"])
def test_an_ipv6_address_without_quotes(address: str) -> None:
    (problem,) = problems(file_with(address=address))
    assert problem.startswith("f:2:22: not YAML: ")
    assert problem.endswith(IPV6)


@pytest.mark.parametrize(
    ("clients", "start"),
    [
        ("[[::/0]:80]", "f:5:14: not YAML: "),
        ('["0.0.0.0/0:80", [::/0]:80]', "f:5:31: not YAML: "),
        ("[[2001:db8::/32]:80]", "f:5:15: rules[0].clients[0]: a key is a list or a mapping"),
    ],
)
def test_an_ipv6_network_without_quotes(clients: str, start: str) -> None:
    problem = problems(file_with(clients=clients))[0]
    assert problem.startswith(start)
    assert "quotes around an IPv6 address" in problem


INDENTATION = {
    "    clients:": (
        "     clients:",
        "f:5:13: not YAML: mapping values are not allowed in this context (expected quotes around"
        " text that holds ': ', or the indentation of the settings around it)",
    ),
    "    targets": (
        "   targets",
        "f:6:4: not YAML: while parsing a block collection: did not find expected '-' indicator"
        " (expected the indentation of line 4, column 3, or a deeper one)",
    ),
    "  - name": (
        "\t- name",
        "f:4:1: not YAML: while scanning for the next token: found character that cannot start any"
        " token (expected spaces, not tabs)",
    ),
}


@pytest.mark.parametrize("right", INDENTATION)
def test_wrong_indentation(right: str) -> None:
    wrong, expected = INDENTATION[right]
    assert problems(file_with().replace(right, wrong)) == [expected]


@pytest.mark.parametrize(
    ("strategy", "advised"),
    [
        ("leastconn", "least_conn"),
        ("RoundRobin", "round_robin"),
        ("magleev", "maglev"),
        ("maglev", "maglev"),
    ],
)
def test_the_advice_for_a_strategy_is_accepted(strategy: str, advised: str) -> None:
    text = f"{file_with()}    strategy: "
    expected = f"'{strategy}' is not a mapping (expected {{type: {advised}}})"
    assert problems(text + strategy) == [f"f:7: rules[0].strategy: {expected}"]
    assert problems(f"{text}{{type: {advised}}}") == []


def test_a_strategy_like_none() -> None:
    (problem,) = problems(f"{file_with()}    strategy: zzz")
    assert "(expected {type: NAME}, NAME being round_robin, least_conn, " in problem
