"""What can be served, but hardly is what was meant, is warned of, with its place."""

import os
from pathlib import Path

import pytest

from nginy.config.load import load, parse

# Lines 1 to 7; settings of the file, the backend and the rule are put in.
TEMPLATE = """\
backends:
  - {id: a, address: "10.0.1.11:81"@backend}
  - {id: b, address: "10.0.1.12:82"@backend}
rules:
  - clients: [@clients]
    targets: [@targets]
@rule
@file
"""
USUAL = {"@clients": '"0.0.0.0/0:80"', "@targets": "a, b", "@rule": "", "@backend": "", "@file": ""}


def file_with(**settings: str) -> str:
    text = TEMPLATE
    for place, value in (USUAL | {f"@{key}": value for key, value in settings.items()}).items():
        text = text.replace(place, value)
    return text


def warnings(**settings: str) -> list[str]:
    return [str(warning) for warning in parse(file_with(**settings), "f").warnings]


UDP = "    protocol: udp"


def test_the_usual_has_none() -> None:
    assert warnings() == []
    assert warnings(rule=UDP) == []


def test_a_backend_in_no_rule() -> None:
    assert warnings(targets="b") == [
        "f:2: warning: backends[0]: no rule sends to 'a'"
        " (expected it in a rule's targets, or not here)"
    ]


def test_a_tcp_check_of_who_serves_udp_only() -> None:
    assert warnings(rule=UDP, file="health_check: {interval_s: 1}") == [
        "f:8: warning: health_check: connects by TCP to a, b, which only UDP rules use: without a"
        " TCP service at the same port, they count as down (expected a health_check of their own,"
        " {type: udp, send: ...} or with a port)"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"file": "health_check: {port: 9}", "rule": UDP},
        {"file": "health_check: {type: udp, send: x}", "rule": UDP},
        {"file": "health_check: {type: tcp}"},
        {"file": "health_check: {}", "backend": ", health_check: {port: 9}", "rule": UDP},
        {
            "file": "health_check: {}",
            "rule": f"{UDP}\n  - {{clients: ['0.0.0.0/0:80'], targets: [a, b]}}",
        },
    ],
)
def test_checks_that_can_pass(settings: dict[str, str]) -> None:
    assert warnings(**settings) == []


def test_of_many_backends_three_are_named() -> None:
    more = "".join(f'\n  - {{id: {each}, address: "10.0.1.13:83"}}' for each in "cdef")
    text = file_with(targets="a, b, c, d, e, f", rule=UDP, file="health_check: {}")
    text = text.replace("\nrules:", f"{more}\nrules:")
    (warning,) = parse(text, "f").warnings
    assert "connects by TCP to a, b, c and 3 more, which" in warning.message


V6 = '"[::/0]:80"'


@pytest.mark.parametrize(
    ("clients", "bound", "family", "wildcard"),
    [('"10.0.0.0/8:80"', "::1", "IPv4", "0.0.0.0"), (V6, "10.0.1.1", "IPv6", "::")],
)
def test_clients_that_cannot_come(clients: str, bound: str, family: str, wildcard: str) -> None:
    assert warnings(clients=clients, file=f"bind_addresses: ['{bound}']") == [
        f"f:5: warning: rules[0].clients[0]: none of them can come: no bind address is {family}"
        f' (expected "{wildcard}", or another of {family}, in bind_addresses)'
    ]
    assert warnings(clients=clients, file="bind_addresses: ['0.0.0.0', '::']") == []
    assert warnings(clients=clients) == []


QUEUE = "    queue: {max_waiting: 5}"


def test_a_queue_where_nobody_is_ever_full() -> None:
    assert warnings(rule=QUEUE) == [
        "f:7: warning: rules[0].queue: has no effect: no backend of the rule has max_connections,"
        " so none is full (expected max_connections of its backends)"
    ]
    assert warnings(rule=QUEUE, backend=", max_connections: 1") == []
    assert warnings(rule=QUEUE, file="agent_check: {port: 1}") == [], "the agent may say maxconn"


def test_adaptive_without_reports() -> None:
    rule = "    strategy: {type: adaptive}"
    assert warnings(rule=rule) == [
        "f:7: warning: rules[0].strategy: has nothing to adapt to: no load reports are listened"
        " for (expected healthcheck_addr: IP:port)"
    ]
    assert warnings(rule=rule, file='healthcheck_addr: "10.0.1.10:7000"') == []


def log_warning(folder: Path, target: str) -> str:
    path = folder / "nginy.yaml"
    path.write_text(file_with(file=f"access_log: '{target}'"))
    return "".join(str(warning).removeprefix(f"{path}:8: ") for warning in load(path).warnings)


def test_an_access_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expected = "(expected a file that can, or - for standard output)"
    for target, obstacle in {
        tmp_path: "Is a directory",
        tmp_path / "none" / "log": "No such file or directory",
        tmp_path / "file" / "log": "Not a directory",
    }.items():
        said = log_warning(tmp_path, str(target))
        assert said == f"warning: access_log: {target} cannot be written: {obstacle} {expected}"


def test_an_access_log_that_can_be_written_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "new", "fifo"):
        assert log_warning(tmp_path, str(tmp_path / name)) == ""
    assert log_warning(tmp_path, "-") == ""
    assert not (tmp_path / "new").exists()
