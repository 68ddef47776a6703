"""`nginy check`: a summary, errors, and a warning of what will fail at the start."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nginy.cli import main

TEXT = """
backends: [{id: a, address: "10.0.1.11:81"}]
rules: [{name: web, clients: ["0.0.0.0/0:8080"], targets: [a]}]
"""


def check(tmp_path: Path, text: str, *options: str) -> Result:
    path = tmp_path / "nginy.yaml"
    path.write_text(text)
    return CliRunner().invoke(main, ["check", "-c", str(path), *options])


def test_the_summary_counts(tmp_path: Path) -> None:
    result = check(tmp_path, TEXT)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}/nginy.yaml: 1 rule, 1 backend, 1 port 8080/tcp\n"
    assert result.stderr == ""


def test_a_warning_is_an_error_if_that_is_asked_for(tmp_path: Path) -> None:
    text = TEXT.replace("targets", "queue: {max_waiting: 1}, targets")
    clash = '\nhealthcheck_addr: "10.0.1.10:8080"'
    for options, code in ((), 0), (("--strict",), 2):
        result = check(tmp_path, text + clash, *options)
        assert result.exit_code == code
        assert f"{tmp_path}/nginy.yaml:3: warning: rules[0].queue: has no " in result.stderr
        assert f"{tmp_path}/nginy.yaml: warning: healthcheck_addr 10.0.1.10" in result.stderr
        assert ("2 warnings, and none is allowed (--strict)" in result.stderr) is bool(code)
    assert check(tmp_path, TEXT, "--strict").exit_code == 0


def test_a_wrong_file(tmp_path: Path) -> None:
    result = check(tmp_path, TEXT.replace(":8080", ":0"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{tmp_path}/nginy.yaml:3: rules[0].clients[0]: '0' is not a")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.yaml")
    path.write_text(TEXT)
    result = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert (result.exit_code, result.exception) == (0, None)
    assert "\ufffd.yaml: 1 rule" in result.stdout


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ('healthcheck_addr: "10.0.1.10:8080"', True),
        ('healthcheck_addr: "0.0.0.0:8080"\nbind_addresses: ["10.0.1.10"]', True),
        ('healthcheck_addr: "10.0.1.10:8080"\nbind_addresses: ["10.0.1.10"]', True),
        ('healthcheck_addr: "10.0.1.10:8080"\nbind_addresses: ["10.0.1.11"]', False),
        ('healthcheck_addr: "10.0.1.10:8081"', False),
        ('healthcheck_addr: "[::1]:8080"', False),
        ('healthcheck_addr: "0.0.0.0:8080"\nbind_addresses: ["::"]', False),
        ('healthcheck_addr: "[::1]:8080"\nbind_addresses: ["::"]', True),
    ],
)
def test_load_reports_on_the_port_of_a_rule(tmp_path: Path, settings: str, warned: bool) -> None:
    result = check(tmp_path, TEXT + settings)
    assert result.exit_code == 0
    assert ("warning: healthcheck_addr" in result.stderr) is warned
    assert ("has the TCP port of web; give one of them another port" in result.stderr) is warned


def test_load_reports_and_a_udp_rule_share_a_port(tmp_path: Path) -> None:
    text = TEXT.replace("name: web", "protocol: udp") + 'healthcheck_addr: "10.0.1.10:8080"'
    assert check(tmp_path, text).stderr == ""
