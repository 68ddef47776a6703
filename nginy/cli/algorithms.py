"""`nginy algorithms`: what can be written as `strategy.type`, with its parameters."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from nginy.balancer.registry import ALGORITHMS
from nginy.config.parse import suggestion
from nginy.config.strategies import STRATEGIES, StrategySettings


@click.command()
@click.argument("name", required=False)
def algorithms(name: str | None) -> None:
    """The balancing algorithms; with NAME, one of them with its parameters.

    \b
    nginy algorithms
    nginy algorithms peak_ewma
    """
    if name is None:
        width = max(map(len, ALGORITHMS))
        for known in ALGORITHMS:
            click.echo(f"{known:{width}}  {_first_line(STRATEGIES[known])}")
    elif name in ALGORITHMS:
        click.echo("\n".join(_described(name)))
    else:
        message = f"unknown algorithm {name!r}{suggestion(name, ALGORITHMS)}"
        raise click.UsageError(f"{message} (one of {', '.join(ALGORITHMS)})")


def _first_line(settings: type[StrategySettings]) -> str:
    return inspect.getdoc(settings) or ""


def _described(name: str) -> Iterator[str]:
    """Everything about one algorithm: its own docstring, and those of its parameters."""
    yield f"{name}: {_first_line(STRATEGIES[name])}"
    yield ""
    yield inspect.getdoc(ALGORITHMS[name]) or ""
    parameters = STRATEGIES[name].model_json_schema()["properties"]
    del parameters["type"]
    yield ""
    yield "parameters:" if parameters else "no parameters"
    for parameter, schema in parameters.items():
        default = "none" if schema.get("default") is None else json.dumps(schema["default"])
        yield f"  {parameter}: {_type_words(schema)}, default {default}"
        for line in inspect.cleandoc(schema.get("description", "")).splitlines():
            yield f"      {line}"


def _type_words(schema: dict[str, Any]) -> str:
    """A JSON schema's type, in words."""
    if "anyOf" in schema:
        given = [entry for entry in schema["anyOf"] if entry.get("type") != "null"]
        return " or ".join(map(_type_words, given))
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema["type"] == "array":
        entries = schema["prefixItems"]
        return f"list of {len(entries)}, each a {_type_words(entries[0])}"
    if schema["type"] == "boolean":
        return "true | false"
    return " ".join(_number_words(schema))


def _number_words(schema: dict[str, Any]) -> Iterator[str]:
    yield "whole number" if schema["type"] == "integer" else "number"
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']:g},"
    if "minimum" in schema:
        yield f"from {schema['minimum']:g}"
    yield f"to {schema['maximum']:.10g}"
