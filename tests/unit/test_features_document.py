"""docs/features.md cannot rot: the tests and settings it names exist, and no setting is missing."""

import ast
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from nginy.config.schema import BackendSettings, FileSettings, RuleSettings
from nginy.config.settings import Settings
from nginy.config.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "features.md").read_text()
SPANS = re.findall(r"`([^`]+)`", DOCUMENT)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

FOR_THE_ORIGINALS_FILE = {"iperf_addr"}
NAMED_BY_MEANING = {"name", "type", "targets", "id", "rules", "backends", "clusters", "strategy"}
"""What everybody who has written a rule knows, and no row is about."""


def settings_in(annotation: object) -> Iterator[type[Settings]]:
    """The groups of settings within a type: `X | None`, `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from settings_in(inner)


def literals_in(annotation: object) -> Iterator[str]:
    if typing.get_origin(annotation) is typing.Literal:
        yield from (value for value in typing.get_args(annotation) if isinstance(value, str))
    for inner in typing.get_args(annotation):
        yield from literals_in(inner)


def walk(group: type[Settings], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The dotted name of each setting of a group, and its type."""
    for name, field in group.model_fields.items():
        yield prefix + name, field.annotation
        for inner in settings_in(field.annotation):
            yield from walk(inner, f"{prefix}{name}.")


GROUPS = (FileSettings, BackendSettings, RuleSettings, *STRATEGIES.values())
SETTINGS = {name: annotation for group in GROUPS for name, annotation in walk(group)}
VALUES = {value for annotation in SETTINGS.values() for value in literals_in(annotation)}
LAST_PARTS = {name.rpartition(".")[2] for name in SETTINGS}

OTHER_WORDS = {"drain", "all", "hex", "regex", "true"}
"""An agent's, an access list's, prefixes of what is sent and expected, and YAML's."""


def test_every_test_it_names_exists() -> None:
    functions = {
        f"{path.name}::{node.name}"
        for path in TESTS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = {span for span in SPANS if re.match(r"test_\w+\.py::", span)}
    assert len(named) > 60
    assert named - functions == set()


def test_a_file_name_means_one_file() -> None:
    names = [path.name for path in TESTS]
    assert len(names) == len(set(names))


def test_every_test_is_named_in_full() -> None:
    loose = re.sub(r"`[^`]+`", "", DOCUMENT)
    assert re.findall(r"\btest_\w+", loose) == []
    assert [s for s in SPANS if s.startswith("test_") and "::" not in s] == []


def test_every_file_it_names_exists() -> None:
    files = [span for span in SPANS if re.fullmatch(r"(nginy|tests|docs)/[\w/.]*", span)]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def rows_of_settings() -> Iterator[str]:
    """The second cell of each row of the tables whose second column is the setting or the name."""
    in_table = False
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells[1] in {"setting", "name here"}:
            in_table = True
        elif in_table and not set(cells[1]) <= set("-"):
            yield cells[1]


def names_in(cell: str) -> set[str]:
    """The settings, algorithms and values that a cell names; not what is quoted within."""
    spans = [re.sub(r'"[^"]*"', "", span) for span in re.findall(r"`([^`]+)`", cell)]
    return {
        word
        for span in spans
        if "/" not in span and "%" not in span
        for word in re.findall(r"[a-z][a-z0-9_.]*", span)
    }


@pytest.mark.parametrize("cell", sorted(set(rows_of_settings())))
def test_every_setting_it_names_exists(cell: str) -> None:
    known = set(SETTINGS) | LAST_PARTS | VALUES | set(STRATEGIES) | OTHER_WORDS
    assert names_in(cell) - known == set()


def test_no_setting_is_missing_from_it() -> None:
    """Parameters of algorithms apart: `nginy algorithms` lists them."""
    named = set(re.findall(r"[a-z][a-z0-9_]*", " ".join(SPANS)))
    groups = (FileSettings, BackendSettings, RuleSettings)
    all_of_them = {name.rpartition(".")[2] for group in groups for name, _ in walk(group)}
    missing = all_of_them - named - FOR_THE_ORIGINALS_FILE - NAMED_BY_MEANING
    assert missing == set()


def test_every_algorithm_is_in_it() -> None:
    assert set(STRATEGIES) - set(SPANS) == set()
