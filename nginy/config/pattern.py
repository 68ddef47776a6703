"""What an answer must contain, found in a time that grows with its length and no faster.

Python's `re` backtracks: `^(\\w+\\s?)+ready$` took over 6 s for an answer of 27 bytes, and
nobody was served meanwhile. RE2 (Cox, "Regular Expression Matching in the Wild", 2010) reads
every byte once.
"""

from dataclasses import dataclass, field
from typing import Any

import re2

MOST_INSTRUCTIONS = 256
"""Of a compiled pattern. Where RE2 has to follow all of them at once, a byte costs it 5 ns each:
25 ms for the longest answer. Usual patterns have less than 50."""

_REMEDIES = (
    ("(?!", "what must be there instead, such as ^[^E] or ^(OK|UP); RE2 has no look-around"),
    ("(?<!", "what must stand before instead; RE2 has no look-around"),
    ("(?=", "both parts in their order; RE2 has no look-around"),
    ("(?<=", "what stands before as well; RE2 has no look-around"),
    ("\\Z", "$ for the end"),
    ("escape sequence", "what is repeated written out, \\\\ for a backslash; no back-references"),
    ("bad repetition operator", "one sign of repetition; RE2 has no possessive ones"),
    ("(?>", "(?: instead; RE2 has no atomic groups and needs none"),
    ("repetition size", "at most 1000 repetitions"),
)
"""By what RE2's complaint contains."""
_SYNTAX = "one in RE2's syntax (github.com/google/re2/wiki/Syntax)"


class InvalidPattern(ValueError):
    """Not a pattern; the message says why, `remedy` what to write instead."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Both without a full stop."""
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern; equal if written alike."""

    source: bytes
    """In RE2's syntax."""
    _compiled: Any = field(compare=False, repr=False)

    def found_in(self, answer: bytes) -> bool:
        """Whether `answer` contains it. As in Python's `re`, `$` is the end of the text, and the
        place before a line feed that ends it."""
        if self._compiled.search(answer):
            return True
        return answer.endswith(b"\n") and bool(self._compiled.search(answer[:-1]))


def literal(data: bytes) -> Pattern:
    """What finds `data` itself."""
    return _compile(re2.escape(data))


def regular_expression(source: bytes) -> Pattern:
    """Compile `source`. Raises InvalidPattern."""
    try:
        pattern = _compile(source)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        remedy = next((words for sign, words in _REMEDIES if sign in text), _SYNTAX)
        raise InvalidPattern(text, remedy) from None
    size = pattern._compiled.programsize
    if size > MOST_INSTRUCTIONS:
        reason = f"it takes {size} steps per byte, more than {MOST_INSTRUCTIONS}"
        raise InvalidPattern(reason, "a shorter one, with smaller counts in braces")
    return pattern


def _compile(source: bytes) -> Pattern:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.log_errors = False
    return Pattern(source, re2.compile(source, options))
