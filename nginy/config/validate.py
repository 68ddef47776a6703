"""Part of a document against part of the schema, in the operator's words."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nginy.config.document import Document, Location
from nginy.config.parse import InvalidValue
from nginy.config.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)

_EMPTY = {"too_short": "at least one entry", "string_too_short": "text"}
_EXPECTED = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
}


def validate(
    document: Document, model: type[AnySettings], data: object, location: Location
) -> AnySettings | None:
    """`data`, which stands at `location`, as `model`; None if there were problems to report."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for details in error.errors():
            _report(document, model, location, details)
        return None


def validate_by_key(
    document: Document, model: type[AnySettings], data: dict[str, object], location: Location
) -> AnySettings:
    """Like `validate`, but a fault costs only its own setting, which takes its default.

    For models without required settings.
    """
    with suppress(ValidationError):  # all at once is ten times as fast
        return model.model_validate(data)
    return model.model_validate(
        {k: v for k, v in data.items() if validate(document, model, {k: v}, location) is not None}
    )


def _report(
    document: Document, model: type[Settings], location: Location, details: ErrorDetails
) -> None:
    # pydantic marks a mapping's bad key by an extra last step.
    inside = tuple(part for part in details["loc"] if part != "[key]")
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidValue):
        below = (cause.key,) if cause.key else ()
        document.report((*location, *inside, *below), cause.message, cause.expected)
    elif details["type"] == "missing":
        expected = _missing(_group_at(model, inside[:-1]), inside[-1])
        document.report((*location, *inside), "is missing", expected)
    elif details["type"] == "extra_forbidden":
        known = list(_known_keys(_group_at(model, inside[:-1])))
        message = f"unknown setting{document.suggestion(str(inside[-1]), known)}"
        document.report((*location, *inside), message, f"one of {', '.join(known)}")
    elif details["type"] != "string_type" or not document.report_unquoted((*location, *inside)):
        document.report((*location, *inside), *_explain(details))


def _explain(details: ErrorDetails) -> tuple[str, str]:
    """A message, and what is expected instead."""
    if details["type"] in _EMPTY:
        return "is empty", _EMPTY[details["type"]]
    if details["type"] == "too_long":
        return "has too many entries", f"at most {details['ctx']['max_length']}"
    what = _describe(details["input"])
    if details["type"] in _EXPECTED:
        return f"{what} is not valid", _EXPECTED[details["type"]]
    before, should, expected = details["msg"].partition(" should ")
    return (f"{what} is not valid", expected.removeprefix("be ")) if should else (before, "")


def _missing(group: type[BaseModel], part: str | int) -> str:
    """What is expected where a setting, or an entry of a list of fixed length, is missing."""
    if isinstance(part, int):
        return "more entries"
    return group.model_fields[part].description or ""


def _describe(value: Any) -> str:
    if value is None:
        return "no value"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(value)


def _group_at(model: type[BaseModel], inside: Location) -> type[BaseModel]:
    """The group of settings at `inside` of `model`; entries of lists count as their list."""
    for part in inside:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_groups_in(model.model_fields[part].annotation), model)
    return model


def _groups_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The group that a type is, holds or may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _groups_in(argument)


def _known_keys(model: type[BaseModel]) -> Iterator[str]:
    """The settings of a group in the spelling of the file."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        yield from map(str, alias.choices) if isinstance(alias, AliasChoices) else [name]
