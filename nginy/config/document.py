"""A YAML text as plain data that remembers on which line every setting stands."""

from collections.abc import Collection

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nginy.config.parse import suggestion
from nginy.config.yaml_faults import QUOTED_IPV6, YamlFault
from nginy.config.yaml_nodes import compose, is_plain, scalar_value
from nginy.errors import Problem

MAX_VALUES = 1_000_000
"""Ten levels of ten aliases each would be 10^10 values: more than memory holds."""
MERGE = "<<"
MAX_COMPARISONS = 50_000
"""Of misspelt names with known ones, for one file: about half a second."""

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
        self.warnings: list[Problem] = []
        self._lines: dict[Location, int] = {}
        self._unquoted: dict[Location, ScalarNode] = {}
        """What is not text for want of quotes."""
        self._faulty: set[Location] = set()
        self._around_faulty: set[Location] = set()
        self._values = 0
        self._comparisons = 0
        self.data: object = None
        try:
            root = compose(text)
            if root is not None:
                self.data = self._read(root, (), ())
        except YamlFault as fault:
            self._add(fault.line, (), fault.message, fault.expected, fault.column)
        except RecursionError:
            self._add(None, (), "is nested too deeply", "")

    def report(
        self, location: Location, message: str, expected: str = "", column: int | None = None
    ) -> None:
        """Note a problem of the setting at `location`, unless one there or below is known."""
        if location not in self._around_faulty:
            self._faulty.add(location)
            self._around_faulty.update(location[:end] for end in range(len(location) + 1))
            self._add(self.line(location), location, message, expected, column)

    def warn(self, location: Location, message: str, expected: str) -> None:
        """Note what is no error, and hardly meant, at `location`."""
        key = format_key(location)
        line = self.line(location)
        warning = Problem(self.source, line, key, message, expected, is_warning=True)
        self.warnings.append(warning)

    def report_unquoted(self, location: Location) -> bool:
        """Report that quotes would make text of what stands at `location`, if they would."""
        node = self._unquoted.get(location)
        if node is None:
            return False
        expected = f'quotes: "{node.value}"'
        self.report(location, f"{node.value} is not text", expected, node.start_mark.column + 1)
        return True

    def faulty(self, location: Location) -> bool:
        """Whether a problem of the setting at `location` is known."""
        return location in self._faulty

    def suggestion(self, word: str, known: Collection[str]) -> str:
        """As `parse.suggestion`, while comparing does not take too long: the first faults of a
        large file have one, and not the thousandth."""
        self._comparisons += len(known)
        return suggestion(word, known) if self._comparisons <= MAX_COMPARISONS else ""

    def line(self, location: Location) -> int | None:
        """The line of a setting, counting from 1, or of the nearest one around it."""
        while location and location not in self._lines:
            location = location[:-1]
        return self._lines.get(location)

    def _add(
        self,
        line: int | None,
        location: Location,
        message: str,
        expected: str,
        column: int | None = None,
    ) -> None:
        key = format_key(location)
        self.problems.append(Problem(self.source, line, key, message, expected, column))

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
        assert isinstance(node, ScalarNode)
        value = scalar_value(node)
        if value is not None and not isinstance(value, str):
            self._unquoted[location] = node
        return value

    def _read_mapping(
        self, node: MappingNode, location: Location, around: tuple[Node, ...]
    ) -> dict[object, object]:
        data: dict[object, object] = {}
        for key_node, value_node in node.value:
            if is_plain(key_node) and key_node.value == MERGE:
                self.report((*location, MERGE), "merging mappings is not supported", "plain keys")
                continue
            if not isinstance(key_node, ScalarNode):
                column = key_node.start_mark.column + 1
                expected = f"text, with {QUOTED_IPV6}"
                self.report(location, "a key is a list or a mapping", expected, column)
                continue
            key = scalar_value(key_node)
            inside = (*location, str(key))
            if not isinstance(key, str):
                self._lines[inside] = key_node.start_mark.line + 1
                self.report(inside, f"the key {key!r} is not text", "a name, quoted if need be")
                continue
            line = key_node.start_mark.line + 1
            if key in data:
                first = self._lines[inside]
                self._add(line, inside, f"written twice, first on line {first}", "one of them")
                continue
            self._lines[inside] = line
            data[key] = self._read(value_node, inside, around)
        return data
