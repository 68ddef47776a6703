"""`nginy algorithms`: what can be written as `strategy.type`, with its parameters."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
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
    docs = _docstrings(STRATEGIES[name])
    yield ""
    yield "parameters:" if parameters else "no parameters"
    for parameter, schema in parameters.items():
        default = "none" if schema.get("default") is None else json.dumps(schema["default"])
        yield f"  {parameter}: {_type_words(schema)}, default {default}"
        for line in docs.get(parameter, "").splitlines():
            yield f"      {line}"


def _docstrings(settings: type[StrategySettings]) -> dict[str, str]:
    """Of its parameters, and of those that it inherits.

    Pydantic would read the source of all settings for them (`use_attribute_docstrings`), 30 ms of
    every start.
    """
    found: dict[str, str] = {}
    for group in reversed(settings.__mro__):
        if not issubclass(group, StrategySettings):
            continue
        (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(group))).body
        assert isinstance(parsed, ast.ClassDef)
        for setting, below in pairwise(parsed.body):
            match setting, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = inspect.cleandoc(text)
    return found


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
