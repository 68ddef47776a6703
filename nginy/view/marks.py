"""Marks: what has to be remembered of a status document for the frames after it. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nginy.view.ask import Document

USABLE = "usable"

RuleKey = tuple[str, str, tuple[str, ...]]
"""Name, protocol and clients: names need not differ."""


class Counts(NamedTuple):
    """What only grows."""

    picked: int
    reached: int
    failed: int
    connect_ms: float
    bytes_up: int
    bytes_down: int
    closed: int = 0
    refused: int = 0


class RuleMark(NamedTuple):
    """What is remembered of a rule."""

    counts: Counts
    backends: Mapping[str, Counts]
    shares: Mapping[str, float]
    """Of those that were given new connections."""


class Mark(NamedTuple):
    """What is remembered of a document."""

    started_at: str
    at_s: float
    """Since the process started."""
    dropped: int
    rules: Mapping[RuleKey, RuleMark]


def mark(document: Document) -> Mark:
    """What has to be remembered of a document for the frames after it."""
    return Mark(
        started_at=document["started_at"],
        at_s=document["uptime_s"],
        dropped=sum(document["dropped"].values()),
        rules={key(rule): _rule_mark(rule) for rule in document["rules"]},
    )


def key(rule: Mapping[str, Any]) -> RuleKey:
    """By which a rule of a document is known again."""
    return rule["name"], rule["protocol"], tuple(rule["clients"])


def _rule_mark(rule: Mapping[str, Any]) -> RuleMark:
    closed, refused = (sum(rule[name].values()) for name in ("closed", "refused"))
    return RuleMark(
        counts=_counts(rule["counts"])._replace(closed=closed, refused=refused),
        backends={each["id"]: _counts(each["counts"]) for each in rule["backends"]},
        shares={each["id"]: each["share_pct"] for each in rule["backends"] if _is_asked(each)},
    )


def _is_asked(backend: Mapping[str, Any]) -> bool:
    return bool(backend["state"] == USABLE and backend["share_pct"])


def _counts(counts: Mapping[str, Any]) -> Counts:
    return Counts(
        picked=counts["picked"],
        reached=counts["reached"],
        failed=sum(counts["failed"].values()),
        connect_ms=counts["connect_total_ms"],
        bytes_up=counts["bytes_up"],
        bytes_down=counts["bytes_down"],
    )
