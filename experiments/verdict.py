"""Is a run what it claims to be? Every check, with the bound it applies and the reason for it.

A run is valid when all checks pass; an invalid one is kept for study, ends with exit code 3, and
never reaches a figure. Pure: evidence in, checks out.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

LATENESS_FLOOR_MS = 1.0
LATENESS_SHARE = 0.05
"""A generator may be late by 1 ms or 5 % of the median latency (99th percentile): later, and the
figure would show the generator's own queue. wrk2 has a granularity of 1 ms for the same reason."""

MIN_IDLE_PCT = 10.0
"""Of all CPUs together: emulator, generators and balancer share them, and a machine with nothing
left adds waiting of its own to every latency."""

MAX_STEAL_PCT = 5.0
"""Of all CPUs together: more, and another virtual machine decided part of the result."""

MAX_FAULT_LATE_S = 0.25
"""A fault that is applied later than this was not the one that was asked for."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a run. `detail` has the numbers, whichever way it went."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a run."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What failed, in words."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.ok]

    def to_json(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return {
            "valid": self.valid,
            "reasons": self.reasons,
            "checks": [asdict(check) for check in self.checks],
        }


def rejected(name: str, reasons: Iterable[str]) -> Verdict:
    """The verdict of a run that ended early."""
    return Verdict((Check(name, False, "; ".join(reasons)),))


def links_check(reasons: list[str], count: int) -> Check:
    """`reasons`: what calibration found wrong, before or after; `count`: values it checked."""
    return Check("links", not reasons, "; ".join(reasons) or f"{count} values within tolerance")


def lateness_check(summaries: Iterable[Mapping[str, Any]], median_latency_ms: float) -> Check:
    """Generators sent when they meant to (p99 of actual minus intended start); one that sent
    nothing of what it should have counts as infinitely late."""
    bound_ms = max(LATENESS_FLOOR_MS, LATENESS_SHARE * median_latency_ms)
    late = {
        item["client"]: (item["lateness_ms"] or {}).get("p99", math.inf)
        for item in summaries
        if item["offered"]
    }
    if not late:
        return Check("generators on time", True, "no request fell into the run")
    worst = max(late, key=lambda client: late[client])
    detail = f"p99 at most {late[worst]:.2f} ms late ({worst}), allowed {bound_ms:.2f} ms"
    return Check("generators on time", late[worst] <= bound_ms, detail)


def cpu_check(idle_pct: float, steal_pct: float) -> Check:
    """The machine had time to spare while load was on."""
    detail = (
        f"{idle_pct:.0f} % idle (at least {MIN_IDLE_PCT:.0f}), "
        f"{steal_pct:.1f} % stolen (at most {MAX_STEAL_PCT:.0f})"
    )
    return Check("cpu headroom", idle_pct >= MIN_IDLE_PCT and steal_pct <= MAX_STEAL_PCT, detail)


def captures_check(dropped: Mapping[str, int], clock_step_s: float) -> Check:
    """Captures have every packet, and one clock."""
    lost = {point: count for point, count in dropped.items() if count}
    if lost:
        return Check("captures", False, f"packets lost by capture: {lost}")
    stepped = abs(clock_step_s) > 0.01
    detail = f"the wall clock stepped by {clock_step_s:.3f} s" if stepped else "no packet lost"
    return Check("captures", not stepped, detail)


def faults_check(
    due: Iterable[tuple[str, float]],
    applied_s: Iterable[float],
    *,
    allowed_s: float = MAX_FAULT_LATE_S,
) -> Check:
    """Every fault was applied at its time: neither left out nor late, nor early.

    `due`: what and when, in order of time; `applied_s`: when each was, as many as there were.
    """
    wanted, times_s = list(due), list(applied_s)
    problems = [
        f"{what} at {at_s:g} s was applied {when_s - at_s:+.2f} s off"
        for (what, at_s), when_s in zip(wanted, times_s, strict=False)
        if not 0 <= when_s - at_s <= allowed_s
    ]
    problems += [f"{what} at {at_s:g} s was not applied" for what, at_s in wanted[len(times_s) :]]
    return Check("faults", not problems, "; ".join(problems) or f"{len(wanted)} applied in time")


def sockets_check(drops: Mapping[str, int]) -> Check:
    """No client and no backend lost datagrams for want of a buffer. `drops`: per host."""
    lost = {host: count for host, count in drops.items() if count}
    detail = f"datagrams lost in sockets: {lost}" if lost else "no datagram lost in a socket"
    return Check("sockets", not lost, detail)


def backends_check(finals: Mapping[str, Mapping[str, Any]], expected: Iterable[str]) -> Check:
    """Every backend served to the end, and no listen queue overflowed."""
    missing = [name for name in expected if name not in finals]
    if missing:
        return Check("backends", False, f"no final counters from {', '.join(missing)}")
    drops = {name: final["listen_drops"] for name, final in finals.items() if final["listen_drops"]}
    detail = f"connections dropped at listen: {drops}" if drops else f"{len(finals)} up to the end"
    return Check("backends", not drops, detail)


def problems_check(name: str, problems: list[str], detail: str) -> Check:
    """A check that another module made: passed when it found no problem."""
    return Check(name, not problems, "; ".join(problems) or detail)
