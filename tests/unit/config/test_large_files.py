"""What a large file costs, counted in calls: the same per entry however many there are."""

import contextlib
import sys
from collections.abc import Sequence, ValuesView
from types import FrameType
from typing import Any

import pytest

from nginy.config.document import Document
from nginy.config.load import parse
from nginy.config.parse import ClientMatch, parse_client
from nginy.config.resolve import Parts, resolve
from nginy.config.route import rules_by_port
from nginy.config.schema import BackendSettings, FileSettings, RuleSettings
from nginy.config.strategies import KetamaSettings
from nginy.errors import ConfigError


def file_of(backends: int, rules: int, members: Sequence[str] = ()) -> str:
    """Every rule has a port of its own, and sends to a cluster of `members` (default: all)."""
    ids = [f"backend-{number}" for number in range(backends)]
    return "\n".join(
        [
            "backends:",
            *(f'  - {{id: {each}, address: "10.0.0.1:{n + 1}"}}' for n, each in enumerate(ids)),
            f"clusters: {{some: [{', '.join(members or ids)}]}}",
            "rules:",
            *(f'  - {{clients: ["0.0.0.0/0:{n + 1}"], targets: [some]}}' for n in range(rules)),
        ]
    )


def calls_to_parse(text: str) -> int:
    """Of Python functions and resumed generators."""
    count = 0

    def counted(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        with contextlib.suppress(ConfigError):
            parse(text, "f")
    finally:
        sys.setprofile(before)
    return count


def test_an_entry_costs_some_hundred_calls() -> None:
    """Scanning YAML in Python makes some thousand."""
    assert calls_to_parse(file_of(100, 200)) < 300 * 400


class CountsReadings(dict[int, Any]):
    """How often all values are gone through."""

    readings = 0

    def values(self) -> ValuesView[Any]:
        self.readings += 1
        return super().values()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_no_rule_goes_through_all_backends(protocol: str) -> None:
    def readings(rule_count: int) -> int:
        backend = BackendSettings.model_validate({"id": "a", "address": "10.0.0.1:80"})
        rule = {"clients": ["0.0.0.0/0:80"], "targets": ["a"], "protocol": protocol}
        rules = {n: RuleSettings.model_validate(rule) for n in range(rule_count)}
        rules = {
            n: each.model_copy(update={"strategy": KetamaSettings()}) for n, each in rules.items()
        }
        backends, ids = CountsReadings({0: backend}), CountsReadings({0: "a"})
        resolve(Parts(FileSettings(), backends, rules, ids, ()), Document("a: 1", "f"))
        return backends.readings + ids.readings

    assert readings(100) == readings(1)


def test_the_thousandth_misspelt_name_is_not_compared_with_all() -> None:
    few, many = (
        calls_to_parse(file_of(500, 1, [f"bakend-{number}" for number in range(wrong)]))
        for wrong in (100, 1000)
    )
    assert many < 2 * few


class CountsLooks:
    """A rule: how often it is asked for its clients."""

    protocol = "tcp"
    looks = 0

    def __init__(self, port: int) -> None:
        self._match = parse_client(f"0.0.0.0/0:{port}")

    @property
    def clients(self) -> Sequence[ClientMatch]:
        self.looks += 1
        return (self._match, self._match)


def test_no_port_goes_through_all_rules() -> None:
    rules = [CountsLooks(1 + number % 50) for number in range(100)]
    by_port = rules_by_port(rules)
    assert [each.looks for each in rules] == [1] * 100
    assert by_port["tcp", 8] == [rules[7], rules[57]]
    assert ("udp", 8) not in by_port
