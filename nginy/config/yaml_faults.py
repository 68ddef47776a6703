"""What is wrong with a text that is not YAML: where, and what would be right."""

import re

from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

_IPV6 = re.compile(
    r"""(?<!["'0-9a-zA-Z:.])\[+[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(/\d+)?\]"""
)
QUOTED_IPV6 = 'quotes around an IPv6 address, such as "[::1]:80" or "::"'
_REMEDIES = {
    "mapping values are not allowed in this context": (
        "quotes around text that holds ': ', or the indentation of the settings around it"
    ),
    "found unexpected end of stream": "a quote at the end of the text that begins there",
}


class YamlFault(ValueError):
    """A text is not YAML, or not of the kind that is read here."""

    def __init__(self, line: int, column: int | None, message: str, expected: str) -> None:
        """`line` and `column` count from 1; `expected` says what would be right."""
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message
        self.expected = expected


def wrong_syntax(text: str, error: MarkedYAMLError) -> YamlFault:
    """Of libyaml's `error` in `text`: in its own words, and with a remedy where one is known."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return YamlFault(1, None, f"not YAML: {error.problem}", "")
    reason = ": ".join(filter(None, (error.context, error.problem)))
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if (unquoted := _IPV6.search(line)) is not None:
        column, expected = unquoted.start() + 1, QUOTED_IPV6
    else:
        column, expected = mark.column + 1, _remedy(error, line[mark.column : mark.column + 1])
    return YamlFault(mark.line + 1, column, f"not YAML: {reason}", expected)


def _remedy(error: MarkedYAMLError, character: str) -> str:
    problem, begun = error.problem or "", error.context_mark
    if begun is not None and problem in ("did not find expected key", _DASH):
        return (
            f"the indentation of line {begun.line + 1}, column {begun.column + 1}, or a deeper one"
        )
    if begun is not None and problem.startswith("did not find expected ','"):
        return f"an end of what is opened in line {begun.line + 1}, column {begun.column + 1}"
    if problem == "found character that cannot start any token":
        return "spaces, not tabs" if character == "\t" else "quotes around text that begins so"
    return _REMEDIES.get(problem, "")


_DASH = "did not find expected '-' indicator"


def not_text(text: str, error: ReaderError) -> YamlFault:
    """Of a character that YAML does not allow; libyaml counts bytes."""
    before = text.encode()[: error.position].decode(errors="ignore")
    column = len(before) - (before.rfind("\n") + 1) + 1
    return YamlFault(before.count("\n") + 1, column, f"not YAML: {error.reason}", "")


def wrong_version(text: str, directive: re.Match[str]) -> YamlFault:
    """Of a directive for another YAML, where 22:22 is a number and `no` is false."""
    line = text.count("\n", 0, directive.start("directive")) + 1
    message = f"{directive['directive'].strip()} is not supported"
    return YamlFault(line, None, message, "YAML 1.2, without this line")
