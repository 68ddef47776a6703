"""What one load generator's run amounts to: the counts, and its own lateness. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.hosts.client.request_record import RequestRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class InFlightSample:
    """Requests of `client` sent and not yet ended at `t_s` (CLOCK_MONOTONIC)."""

    t_s: float
    client: str
    in_flight: int


def summarise(
    client: str,
    records: Sequence[RequestRecord],
    reasons: Mapping[str, int],
    window_s: tuple[float, float],
) -> dict[str, Any]:
    """The summary file. `lateness_ms` is None where nothing was sent."""
    statuses = Counter(record.status for record in records)
    completed = statuses.pop("ok", 0)
    in_flight = statuses.pop("in_flight", 0)
    return {
        "schema_version": SCHEMA_VERSION,
        "client": client,
        "start_s": window_s[0],
        "end_s": window_s[1],
        "offered": len(records),
        "completed": completed,
        "failed": dict(sorted(statuses.items())),
        "in_flight": in_flight,
        "reasons": dict(sorted(reasons.items())),
        "lateness_ms": _lateness_ms(records),
    }


def _lateness_ms(records: Sequence[RequestRecord]) -> dict[str, float] | None:
    late_ms = [(r.sent_s - r.intended_s) * 1000 for r in records if r.sent_s is not None]
    if not late_ms:
        return None
    p50, p99, p999 = np.percentile(late_ms, [50, 99, 99.9])
    return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": max(late_ms)}


def conservation(summaries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Problems with `offered = completed + failed + in_flight`, one line per client that breaks it.

    Takes summaries. This is the generator's own arithmetic: `experiments/judge/laws.py` compares
    with what others counted.
    """
    problems = []
    for summary in summaries:
        failed = sum(summary["failed"].values())
        accounted = summary["completed"] + failed + summary["in_flight"]
        if summary["offered"] != accounted:
            problems.append(
                f"{summary['client']}: offered {summary['offered']} requests, but completed "
                f"{summary['completed']} + failed {failed} + in flight {summary['in_flight']} "
                f"= {accounted}"
            )
    return problems
