"""What one load generator's run amounts to: the counts, its own lateness, Little's law. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.hosts.client.request_record import RequestRecord
from experiments.hosts.client.workload_checks import TooFewSamples, little

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
    samples: Sequence[InFlightSample],
    reasons: Mapping[str, int],
    window_s: tuple[float, float],
) -> dict[str, Any]:
    """The summary file. `lateness_ms` and `little` are None where there is too little to tell."""
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
        "little": _little(records, samples, window_s),
    }


def _lateness_ms(records: Sequence[RequestRecord]) -> dict[str, float] | None:
    late_ms = [(r.sent_s - r.intended_s) * 1000 for r in records if r.sent_s is not None]
    if not late_ms:
        return None
    p50, p99 = np.percentile(late_ms, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": max(late_ms)}


def _little(
    records: Sequence[RequestRecord],
    samples: Sequence[InFlightSample],
    window_s: tuple[float, float],
) -> dict[str, Any] | None:
    stays = [
        (r.sent_s, np.inf if r.ended_s is None else r.ended_s)
        for r in records
        if r.sent_s is not None
    ]
    try:
        law = little(stays, [(s.t_s, s.in_flight) for s in samples], window_s)
    except TooFewSamples:
        return None
    return law._asdict()
