"""YAML text to nodes that know their place, and plain scalars to values, by YAML 1.2.

libyaml scans (in C: 30 times as fast as a scanner in Python), but nodes are composed here: the
composer in C overflows its stack at some ten thousand nested brackets. PyYAML's own resolver is
not used because it is of YAML 1.1, where 22:22 is the number 1342 and `no` is false.
"""

import re

from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.error import MarkedYAMLError
from yaml.nodes import Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from nginy.config.yaml_faults import YamlFault, not_text, wrong_syntax, wrong_version

_PLAIN = ""
"""The tag of a scalar without quotes and without a tag."""
_STANDARD = "tag:yaml.org,2002:"
_WORDS: dict[str, object] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_VERSION = re.compile(r"(?:[ \t]*(?:#.*)?\n)*(?P<directive>%YAML[ \t]+(?!1\.2\b).*)")
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class _Composer(Composer, CParser):
    """Events from libyaml, nodes from PyYAML's composer in Python."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)

    def resolve(self, kind: type[Node], value: object, implicit: tuple[bool, bool]) -> str:
        """The tag of what has none."""
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else f"{_STANDARD}str"
        return f"{_STANDARD}{'seq' if kind is SequenceNode else 'map'}"

    def descend_resolver(self, *_: object) -> None:
        """No tag depends on where a node stands."""

    def ascend_resolver(self) -> None:
        """Likewise."""


def compose(text: str) -> Node | None:
    """The root of the only document in `text`; None: there is none.

    Raises YamlFault, and RecursionError for deep nesting.
    """
    if (version := _VERSION.match(text)) is not None:
        raise wrong_version(text, version)
    try:
        node: Node | None = _Composer(text).get_single_node()
    except MarkedYAMLError as error:
        raise wrong_syntax(text, error) from None
    except ReaderError as error:
        raise not_text(text, error) from None
    return node


def is_plain(node: Node) -> bool:
    """Whether it is a scalar without quotes and without a tag."""
    return bool(node.tag == _PLAIN)


def scalar_value(node: ScalarNode) -> object:
    """Text, number, truth value or None; the text itself where it does not fit its tag.

    Dates are text. Raises YamlFault for a tag that nothing is made of here.
    """
    text: str = node.value
    if node.tag == f"{_STANDARD}str":
        return text
    if node.tag == _PLAIN:
        return _plain_value(text)
    kind = _OF_TAG.get(node.tag.removeprefix(_STANDARD))
    if kind is None:
        mark = node.start_mark
        message = f"not YAML: could not determine a constructor for the tag {node.tag!r}"
        raise YamlFault(mark.line + 1, mark.column + 1, message, "no tag")
    value = _plain_value(text)
    return value if isinstance(value, kind) else text


_OF_TAG: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "float": (int, float),
    "int": int,
    "null": type(None),
}


def _plain_value(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "").lower()
    try:
        if _INTEGER.fullmatch(text):
            value = int(digits, _BASES.get(digits.lstrip("+-")[:2], 10))
            str(value)  # refused for hexadecimal numbers of some thousand digits
            return value
        if _FLOAT.fullmatch(text):
            return float(digits if "n" not in digits else digits.replace(".", ""))
    except ValueError:
        pass
    return text
