"""What an agent beside a backend may say, and what it makes of the backend.

The words are those of HAProxy's agent-check (configuration manual, "agent-check"): separated by
blanks, tabs or commas, in any order and case, the last of a kind counts, what is not said does not
change, `#` begins a reason. `weight:N` is this project's own, the absolute form beside `75%`.
"""

from dataclasses import dataclass
from typing import Any

from nginy.backend.wishes import Admin
from nginy.config.settings import LARGEST

ADMIN = {"ready": Admin.READY, "drain": Admin.DRAIN, "maint": Admin.DOWN}
LARGEST_WEIGHT = 1_000
"""HAProxy's is 256. An agent is a remote party: a weight of some millions would have a hash ring
take all memory."""
LONGEST_REASON = 200
HEALTH = {"up": True, "down": False, "stopped": False, "fail": False}


class IncompleteLine(ValueError):
    """What the agent said does not end with a line feed or a carriage return."""


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """One line of an agent. None: nothing was said of it."""

    admin: Admin | None = None
    up: bool | None = None
    weight_pct: int | None = None
    """Of the configured weight."""
    weight: int | None = None
    max_connections: int | None = None
    reason: str = ""
    """Why it is up or down, in the agent's words: printable, at most LONGEST_REASON characters."""
    unknown: tuple[str, ...] = ()
    """Words nobody knows."""

    def weight_of(self, configured: int) -> int | None:
        """The backend's weight from now on, if anything was said of it.

        A share above 0 % leaves at least 1, because 0 would drain the backend. At most
        LARGEST_WEIGHT or the configured weight.
        """
        largest = max(LARGEST_WEIGHT, configured)
        if self.weight is not None:
            return min(self.weight, largest)
        if self.weight_pct is None:
            return None
        weight = min(largest, configured * self.weight_pct // 100)
        return max(weight, 1) if configured and self.weight_pct else weight


def parse_agent_answer(data: bytes) -> AgentAnswer:
    """The first line of `data`. Raises IncompleteLine."""
    line, end, _ = data.replace(b"\r", b"\n").partition(b"\n")
    if not end:
        raise IncompleteLine("the line does not end")
    words, _, reason = line.decode("utf-8", "replace").partition("#")
    said: dict[str, Any] = {}
    unknown = []
    for word in words.replace(",", " ").split():
        meaning = _meaning(word.lower())
        if meaning is None:
            unknown.append(word)
        else:
            said |= meaning
    return AgentAnswer(**said, reason=_printable(reason.strip()), unknown=tuple(unknown))


def _printable(text: str) -> str:
    """As a log may show it: no line of the agent's own making, no escape sequence."""
    shown = text[:LONGEST_REASON]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in shown)


def _meaning(word: str) -> dict[str, Any] | None:
    if word in ADMIN:
        return {"admin": ADMIN[word]}
    if word in HEALTH:
        return {"up": HEALTH[word]}
    if word.endswith("%"):
        return _number("weight_pct", word[:-1], weight=None)
    if word.startswith("weight:"):
        return _number("weight", word.removeprefix("weight:"), weight_pct=None)
    if word.startswith("maxconn:"):
        return _number("max_connections", word.removeprefix("maxconn:"))
    return None


def _number(key: str, digits: str, **superseded: None) -> dict[str, Any] | None:
    # isascii and isdecimal, because int() also takes "+5", "1_000" and other scripts' digits.
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        return None
    number = int(digits)
    return None if number > LARGEST else {**superseded, key: number}
