"""Reads a configuration file; every problem is reported with its line and key."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nginy.config.circles import check_circles
from nginy.config.document import Document, Location
from nginy.config.effects import warn_of_effects
from nginy.config.machine import ANY_MACHINE, THIS_MACHINE, Machine
from nginy.config.model import Config
from nginy.config.parse import InvalidValue, closest
from nginy.config.resolve import Parts, resolve
from nginy.config.schema import BackendSettings, FileSettings, RuleSettings
from nginy.config.strategies import (
    STRATEGIES,
    SYNONYMS,
    RoundRobinSettings,
    StrategySettings,
    strategy_settings,
)
from nginy.config.validate import validate, validate_by_key
from nginy.errors import ConfigError, Problem


def load(path: Path) -> Config:
    """The configuration in the YAML file `path`. Raises ConfigError with all problems found."""
    with _collector_paused():
        return parse(_read_text(path), str(path), THIS_MACHINE)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Half the time of a large file went into looking for cycles among what stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def parse(text: str, source: str, machine: Machine = ANY_MACHINE) -> Config:
    """The configuration in `text`; `source` names it in problems. Raises ConfigError.

    `machine` is where it is to be served, if that is to be asked.
    """
    document = Document(text, source)
    if document.data is None and not document.problems:
        document.report((), "the file is empty", "backends and rules")
    elif not isinstance(document.data, dict | None):
        document.report((), "the file is not a mapping", "backends: ... and rules: ...")
    config = None
    if isinstance(document.data, dict):
        parts = _parts(document, document.data)
        config = resolve(parts, document)
        if not document.problems:
            check_circles(config, machine.has_address, document)
            warn_of_effects(config, parts, document)
            _warn_of_access_log(config, machine, document)
    if config is None or document.problems:
        raise ConfigError(_in_order(document.problems))
    return replace(config, warnings=tuple(_in_order(document.warnings)))


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Of the file."""
    return sorted(problems, key=lambda problem: problem.line or 0)


def _warn_of_access_log(config: Config, machine: Machine, document: Document) -> None:
    obstacle = machine.write_obstacle(config.access_log) if config.access_log else ""
    if obstacle:
        message = f"{config.access_log} cannot be written: {obstacle}"
        document.warn(("access_log",), message, "a file that can, or - for standard output")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            [Problem(str(path), None, "", f"cannot be read: {error.strerror}")]
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, "", "is not text", "UTF-8")]) from None


def _parts(document: Document, data: dict[str, object]) -> Parts:
    """Every part of the file that is valid by itself; the others are reported."""
    # A section without content (all of it commented out, say) is one that is not there.
    given = {key: value for key, value in data.items() if value is not None}
    top = validate_by_key(document, FileSettings, given, ())
    clusters = given.get("clusters")
    backends = {
        index: validate(document, BackendSettings, entry, ("backends", index))
        for index, entry in enumerate(top.backends)
    }
    return Parts(
        top=top,
        backends={index: backend for index, backend in backends.items() if backend is not None},
        rules=dict(_valid_rules(document, top.rules)),
        backend_ids=dict(_backend_ids(top.backends)),
        cluster_ids=frozenset(clusters) if isinstance(clusters, dict) else frozenset(),
    )


def _valid_rules(
    document: Document, entries: Iterable[object]
) -> Iterator[tuple[int, RuleSettings]]:
    for index, entry in enumerate(entries):
        location = ("rules", index)
        if isinstance(entry, dict):
            entry = entry | _strategy(document, entry, location)
            yield index, validate_by_key(document, RuleSettings, entry, location)
        else:
            validate(document, RuleSettings, entry, location)


def _strategy(
    document: Document, rule: dict[str, object], location: Location
) -> dict[str, StrategySettings]:
    """The rule's strategy, of the class of its type; the default's if it is not valid."""
    data = rule.get("strategy")
    if data is None:
        return {}
    inside = (*location, "strategy")
    try:
        model = strategy_settings(data)
    except InvalidValue as error:
        document.report((*inside, error.key), error.message, error.expected)
        return {"strategy": RoundRobinSettings()}
    if isinstance(data, str):
        document.report(inside, f"{data!r} is not a mapping", _as_mapping(data))
        return {"strategy": RoundRobinSettings()}
    typed = data | {"type": model.model_fields["type"].default} if isinstance(data, dict) else data
    return {"strategy": validate(document, model, typed, inside) or RoundRobinSettings()}


def _as_mapping(name: str) -> str:
    """What to write instead of a strategy's name alone; nothing that would be refused next."""
    near = name if name in STRATEGIES else SYNONYMS.get(name) or closest(name, STRATEGIES)
    return f"{{type: {near}}}" if near else f"{{type: NAME}}, NAME being {', '.join(STRATEGIES)}"


def _backend_ids(entries: Iterable[object]) -> Iterator[tuple[int, str]]:
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield index, entry["id"]
