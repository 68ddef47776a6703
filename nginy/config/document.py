"""A YAML text as plain data that remembers on which line every setting stands."""

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from nginy.errors import Problem

MAX_VALUES = 1_000_000
"""Ten levels of ten aliases each would be 10^10 values: more than memory holds."""
MERGE_TAG = "tag:yaml.org,2002:merge"

Location = tuple[str | int, ...]
"""The way to a setting: `("rules", 0, "strategy")`."""


def format_key(location: Location) -> str:
    """`rules[0].strategy`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


class Document:
    """The data of one YAML file, where its parts stand, and what is wrong with it."""

    def __init__(self, text: str, source: str) -> None:
        """Read `text`; `source` names the file in problems. Syntax errors become problems."""
        self.source = source
        self.problems: list[Problem] = []
        self._lines: dict[Location, int] = {}
        self._located: list[Location] = []
        self._yaml = YAML(typ="safe", pure=True)
        self._values = 0
        self.data: object = None
        try:
            root = self._yaml.compose(text)
            if root is not None:
                self.data = self._read(root, (), ())
        except MarkedYAMLError as error:
            self._syntax_error(error)
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self._problem(line, (), f"not YAML: {error.reason}", "")
        except RecursionError:
            self._problem(None, (), "is nested too deeply", "")

    def report(self, location: Location, message: str, expected: str = "") -> None:
        """Note a problem of the setting at `location`, unless one there or below is known."""
        if not any(known[: len(location)] == location for known in self._located):
            self._located.append(location)
            self._problem(self.line(location), location, message, expected)

    def faulty(self, location: Location) -> bool:
        """Whether a problem of the setting at `location` is known."""
        return location in self._located

    def line(self, location: Location) -> int | None:
        """The line of a setting, counting from 1, or of the nearest one around it."""
        while location and location not in self._lines:
            location = location[:-1]
        return self._lines.get(location)

    def _problem(self, line: int | None, location: Location, message: str, expected: str) -> None:
        self.problems.append(Problem(self.source, line, format_key(location), message, expected))

    def _syntax_error(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        reason = ": ".join(filter(None, (error.context, error.problem)))
        self._problem(line, (), f"not YAML: {reason}", "")

    def _read(self, node: Node, location: Location, around: tuple[Node, ...]) -> object:
        """The data under `node`; `around` are the nodes it stands in."""
        self._lines.setdefault(location, node.start_mark.line + 1)
        self._values += 1
        if self._values > MAX_VALUES:
            self.report((), "has too many values", f"at most {MAX_VALUES}, aliases expanded")
            return None
        if node in around:
            self.report(location, "the alias refers to a value that contains it")
            return None
        if isinstance(node, MappingNode):
            return self._read_mapping(node, location, (*around, node))
        if isinstance(node, SequenceNode):
            inside = (*around, node)
            return [self._read(v, (*location, i), inside) for i, v in enumerate(node.value)]
        return self._read_scalar(node)

    def _read_mapping(
        self, node: MappingNode, location: Location, around: tuple[Node, ...]
    ) -> dict[object, object]:
        data: dict[object, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE_TAG:
                self.report((*location, "<<"), "merging mappings is not supported", "plain keys")
                continue
            if not isinstance(key_node, ScalarNode):
                self.report(location, "a key is a list or a mapping", "text")
                continue
            key = self._read_scalar(key_node)
            inside = (*location, str(key))
            if not isinstance(key, str):
                self._lines[inside] = key_node.start_mark.line + 1
                self.report(inside, f"the key {key!r} is not text", "a name, quoted if need be")
                continue
            line = key_node.start_mark.line + 1
            if key in data:
                first = self._lines[inside]
                self._problem(line, inside, f"written twice, first on line {first}", "one of them")
                continue
            self._lines[inside] = line
            data[key] = self._read(value_node, inside, around)
        return data

    def _read_scalar(self, node: Node) -> object:
        try:
            value: object = self._yaml.constructor.construct_object(node)
            str(value)  # refused for hexadecimal numbers of some thousand digits
        except (ValueError, LookupError):
            return node.value  # looks like a date and is none, such as 2024-13-45
        return value
