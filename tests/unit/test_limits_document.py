"""docs/limits.md cannot rot: the tests, settings and close reasons that it names exist."""

import re

import pytest

from nginy.address import Address
from nginy.config.strategies import STRATEGIES
from nginy.traffic.close_reason import CloseReason
from nginy.traffic.record import ConnectionContext, close_record
from tests.unit.test_features_document import LAST_PARTS, ROOT, SETTINGS, TESTS, VALUES

DOCUMENT = (ROOT / "docs" / "limits.md").read_text()
SPANS = set(re.findall(r"`([^`]+)`", DOCUMENT))
NAMED_TESTS = {span for span in SPANS if span.startswith("test_")}
NOBODY = Address("192.0.2.1", 1)
COLUMNS = set(close_record(ConnectionContext(1, "tcp", NOBODY, NOBODY, 0.0)))
OTHER_WORDS = {"make stress", "make bench", "ulimit -Hn", "net.ipv4.ip_local_port_range", "kernel"}
"""Of the system, and the name of a count."""


def test_it_names_tests() -> None:
    assert len(NAMED_TESTS) > 30


@pytest.mark.parametrize("named", sorted(NAMED_TESTS))
def test_a_test_it_names_exists(named: str) -> None:
    file, _, function = named.partition("::")
    (path,) = (path for path in TESTS if path.name == file)
    assert re.search(rf"^(async )?def {function}\(", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("span", sorted(SPANS - NAMED_TESTS - OTHER_WORDS))
def test_a_setting_reason_or_column_it_names_exists(span: str) -> None:
    name, _, value = span.partition(": ")
    known = (
        set(SETTINGS)
        | LAST_PARTS
        | VALUES
        | set(STRATEGIES)
        | {reason.value for reason in CloseReason}
    )
    assert name in known | COLUMNS
    assert not value or value in VALUES
