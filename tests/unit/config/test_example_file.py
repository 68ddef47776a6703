"""docs/nginy.example.yaml: it loads, has every setting, and shows the true defaults."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from nginy.config.document import Document, Location
from nginy.config.load import parse
from nginy.config.schema import BackendSettings, FileSettings, RuleSettings
from nginy.config.settings import Settings
from nginy.config.strategies import STRATEGIES

PATH = Path(__file__).parents[3] / "docs" / "nginy.example.yaml"
TEXT = PATH.read_text()
LINES = TEXT.splitlines()
DOCUMENT = Document(TEXT, str(PATH))
ENTRIES: dict[str, type[Settings]] = {"backends": BackendSettings, "rules": RuleSettings}


def group_in(annotation: object) -> type[Settings] | None:
    """The group of settings within a type: `X | None`, `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    inner = (group_in(argument) for argument in typing.get_args(annotation))
    return next((group for group in inner if group is not None), None)


def written(
    group: type[Settings], data: dict[str, typing.Any], place: Location
) -> Iterator[tuple[type[Settings], str, Location, typing.Any]]:
    """Every setting that stands in the file: its group, name, place and value."""
    for key, value in data.items():
        yield group, key, (*place, key), value
        field = group.model_fields.get(key)
        inner = ENTRIES.get(key) or (field and group_in(field.annotation))
        if inner is None or key == "strategy":
            continue
        entries = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, entry in entries:
            inside = (*place, key) if index is None else (*place, key, index)
            if isinstance(entry, dict):
                yield from written(inner, entry, inside)


WRITTEN = list(written(FileSettings, typing.cast(dict[str, typing.Any], DOCUMENT.data), ()))


def groups(group: type[Settings] = FileSettings) -> Iterator[type[Settings]]:
    yield group
    for name, field in group.model_fields.items():
        inner = ENTRIES.get(name) or group_in(field.annotation)
        if inner is not None and name != "strategy":
            yield from groups(inner)


def test_it_loads() -> None:
    config = parse(TEXT, str(PATH))
    assert [rule.name for rule in config.rules] == ["web", "dns"]
    assert config.warnings == ()


def test_every_setting_stands_in_it() -> None:
    # A rule's timeouts are the global ones, but for what is of the process.
    shown = {(cls, key) for group, key, *_ in WRITTEN for cls in group.__mro__}
    missing = [
        f"{group.__name__}.{name}"
        for group in groups()
        for name in group.model_fields
        if (group, name) not in shown
    ]
    assert missing == []


def test_what_is_not_an_example_is_the_default() -> None:
    checked = 0
    for group, key, place, value in WRITTEN:
        if "e.g." in LINES[(DOCUMENT.line(place) or 0) - 1] or (isinstance(value, dict) and value):
            continue
        if key in ("backends", "rules", "access"):
            continue
        default = group.model_fields[key].get_default(call_default_factory=True)
        if isinstance(default, Settings):
            default = default.model_dump(exclude_unset=True)
        assert value == (list(default) if isinstance(default, tuple) else default), place
        checked += 1
    assert checked > 60


def test_every_strategy_stands_at_its_end_with_its_defaults() -> None:
    yaml = YAML(typ="safe", pure=True)
    shown = [
        yaml.load(text)["strategy"] for text in re.findall(r"^#   (strategy: .*)$", TEXT, re.M)
    ]
    assert [each["type"] for each in shown] == list(STRATEGIES)
    for each in shown:
        settings = STRATEGIES[each["type"]].model_validate(each)
        assert settings == STRATEGIES[each["type"]]()
        assert each.keys() == type(settings).model_fields.keys()
