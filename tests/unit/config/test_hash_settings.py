"""Mistakes in the settings of hashing algorithms, with line, key and what would be right."""

import pytest

from nginy.config.load import parse
from nginy.config.strategies import MaglevSettings
from nginy.errors import ConfigError

TEMPLATE = """\
backends:
  - {id: srv-1, address: "10.0.1.11:81"}
rules:
  - clients: ["0.0.0.0/0:8080"]
    targets: [srv-1]
    strategy: %s
"""


def problem(strategy: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(TEMPLATE % strategy, "f")
    (found,) = caught.value.problems
    return str(found)


def test_a_table_size_must_be_a_prime() -> None:
    assert problem("{type: maglev, table_size: 65536}") == (
        "f:6: rules[0].strategy.table_size: 65536 is not a prime (expected a prime, such as 65521)"
    )


@pytest.mark.parametrize("size", [2, 3, 65_537, 655_373, 5_000_011])
def test_primes_are_taken(size: int) -> None:
    assert MaglevSettings(table_size=size).table_size == size


def test_a_bound_of_source_needs_the_consistent_method() -> None:
    assert problem("{type: source, load_factor: 1.25}") == (
        "f:6: rules[0].strategy.load_factor: has no effect with method: map"
        " (expected method: consistent)"
    )
    parse(TEMPLATE % "{type: source, method: consistent, load_factor: 1.25}", "f")
