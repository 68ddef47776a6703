"""Is a run what it claims to be? Every check, with the bound it applies and the reason for it.

A run is valid when all checks pass; an invalid one is kept for study, ends with exit code 3, and
reaches a figure only on request, marked as not valid. Pure: evidence in, checks out.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from experiments.judge.precision import Uncertainty
from experiments.judge.punctuality import EARLY_MS, OneWay, Tail, tail_json
from experiments.judge.saturation import BusySecond, saturated
from experiments.lab.host_load import HostLoad
from experiments.plan.click import BY_HAND

LATENESS_FLOOR_MS = 1.0
LATENESS_SHARE = 0.05
"""Where precision is wanted (`precision: strict`), a generator may be late by 1 ms or 5 % of the
median latency (99th percentile): later, and the figure would show the generator's own queue. wrk2
has a granularity of 1 ms for the same reason."""

MIN_IDLE_PCT = 10.0
"""Of all CPUs together, where precision is wanted: emulator, generators and balancer share them,
and a machine with nothing left adds waiting of its own to every latency."""

MAX_STEAL_PCT = 5.0
"""Of all CPUs together, where precision is wanted: more, and another virtual machine decided part
of the result."""

SATURATED = 0.9
"""Share of the time in which the balancer had work. Above it queues grow without end; that is a
result if the balancer ran all that time, and a fault of the machine if it waited for a processor.
"""

MAX_FAULT_LATE_S = 0.25
"""A fault that is applied later than this was not the one that was asked for."""

BUSY = "machine busy"
STOLEN = "processor time stolen by other virtual machines"


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a run. `detail` has the numbers, whichever way it went.

    `cause`: what a busy moment of the machine did, where that alone explains the failure; empty
    where it does not (a dead emulator, a wrong loss), and repeating the run would not mend it.
    """

    name: str
    ok: bool
    detail: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of a run, and what they cannot exclude."""

    checks: tuple[Check, ...]
    uncertainty: Uncertainty | None = None
    """None for a run that ended early."""
    load: HostLoad | None = None
    """Of the machine while the run was disturbed or measured."""
    labels: tuple[str, ...] = ()
    """What a reader has to know of a valid run, too: `balancer saturated (97 % of a core at 12 s)`.
    """
    tail: Tail | None = None

    @property
    def valid(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What failed, in words."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.ok]

    @property
    def disturbed(self) -> bool:
        """Whether it is invalid, and a busy moment explains all of it: another try may pass."""
        return not self.valid and all(check.ok or check.cause for check in self.checks)

    @property
    def disturbance(self) -> str | None:
        """`links late; firefox (pid 7) used 85 % of a core`; None if it was not disturbed."""
        if not self.disturbed:
            return None
        causes = dict.fromkeys(check.cause for check in self.checks if not check.ok)
        return "; ".join(filter(None, [", ".join(causes), self._beside()]))

    def _beside(self) -> str:
        if self.load is None:
            return ""
        if self.load.steal_pct > MAX_STEAL_PCT:
            return f"{self.load.steal_pct:.0f} % {STOLEN}"
        return "" if self.load.busiest is None else str(self.load.busiest)

    def to_json(self) -> dict[str, Any]:
        """The content of verdict.json. `statement` is `uncertainty` in words."""
        return {
            "valid": self.valid,
            "statement": None if self.uncertainty is None else str(self.uncertainty),
            "labels": list(self.labels),
            "tail": tail_json(self.tail),
            "disturbance": self.disturbance,
            "reasons": self.reasons,
            "checks": [asdict(check) for check in self.checks],
            "uncertainty": None if self.uncertainty is None else self.uncertainty.to_json(),
        }


def rejected(
    name: str, reasons: Iterable[str], *, cause: str = "", load: HostLoad | None = None
) -> Verdict:
    """The verdict of a run that ended early."""
    return Verdict((Check(name, False, "; ".join(reasons), cause),), load=load)


def no_evidence(verdict: Verdict, faults: int) -> Verdict:
    """The same of a run that was shown and could be clicked at: never valid, whatever was done. Its
    generators wrote while they sent, and its links were prepared for what nobody may have asked.
    `faults`: how many were by hand."""
    detail = f"faults by hand: {faults}; such a run is no evidence, its clicked.yaml repeats it"
    return replace(
        verdict,
        checks=(*verdict.checks, Check("not by hand", False, detail)),
        labels=(BY_HAND, *verdict.labels),
    )


def links_check(reasons: list[str], count: int, cause: str = "") -> Check:
    """`reasons`: what calibration found wrong, before or after; `count`: values it checked."""
    detail = "; ".join(reasons) or f"{count} values within tolerance"
    return Check("links", not reasons, detail, cause)


def precision_check(uncertainty: Uncertainty) -> Check:
    """What this machine may have added does not change what the run shows."""
    return Check("precision", uncertainty.acceptable, uncertainty.detail, uncertainty.cause)


def tail_check(tail: Tail | None) -> Check:
    """The slowest requests were slow for another reason than this machine."""
    if tail is None:
        return Check("tail", True, "no request was answered")
    return Check("tail", tail.acceptable, str(tail), "requests delayed by this machine")


def early_check(one_way: Iterable[OneWay]) -> Check:
    """No packet came sooner than the links' delay allows."""
    ways = list(one_way)
    early = [
        f"{way.client} {way.direction}: a packet took {way.asked_ms + way.min_ms:.2f} ms instead "
        f"of at least {way.asked_ms:g}"
        for way in ways
        if way.min_ms < -EARLY_MS
    ]
    packets = sum(way.packets for way in ways)
    detail = f"{packets} packets measured at both ends" if ways else "not measured at both ends"
    return problems_check("one-way delay", early, detail)


def saturation_check(busiest: Mapping[str, BusySecond], balancers: Collection[str]) -> Check:
    """Nothing that measures was at its limit; that the balancer was is a result, not a fault."""
    at_limit = [f"{name}: {s}" for name, s in saturated(busiest).items() if name not in balancers]
    most = max(busiest.items(), key=lambda item: item[1].share, default=None)
    detail = f"busiest: {most[0]}, {most[1]}" if most else "not told by this kernel"
    return problems_check("saturation", at_limit, detail)


def priority_check(realtime: Mapping[str, bool], *, strict: bool) -> Check:
    """Who measures had real-time priority. Without it a busy moment delays the measurement; how
    much shows in the lateness, so only precision work is refused."""
    without = [name for name, got in realtime.items() if not got]
    said = f"not granted: {', '.join(without)}" if without else f"granted to all {len(realtime)}"
    return Check("real-time priority", not (without and strict), said)


def lateness_check(late_ms: Mapping[str, float], median_latency_ms: float) -> Check:
    """Generators sent when they meant to. `late_ms`: p99 by client; one that sent nothing of what
    it should have counts as infinitely late."""
    bound_ms = max(LATENESS_FLOOR_MS, LATENESS_SHARE * median_latency_ms)
    if not late_ms:
        return Check("generators on time", True, "no request fell into the run")
    worst = max(late_ms, key=lambda client: late_ms[client])
    detail = f"p99 at most {late_ms[worst]:.2f} ms late ({worst}), allowed {bound_ms:.2f} ms"
    return Check("generators on time", late_ms[worst] <= bound_ms, detail, "generators late")


def cpu_check(load: HostLoad, *, strict: bool) -> Check:
    """The machine had time to spare while load was on.

    What a full machine adds to latencies is judged by `precision_check`. It changes a result in one
    more way: by leaving so little to the balancer that the machine, and not the balancer, is its
    limit. Where precision is wanted, or the kernel does not tell, all CPUs together must have been
    idle enough and little of their time stolen.
    """
    idle = f"{load.idle_pct:.0f} % idle"
    stolen = f"{load.steal_pct:.1f} % stolen"
    cause = STOLEN if load.steal_pct > MAX_STEAL_PCT else BUSY
    if strict or load.balancer is None:
        enough = load.idle_pct >= MIN_IDLE_PCT and load.steal_pct <= MAX_STEAL_PCT
        bounds = f"at least {MIN_IDLE_PCT:.0f}", f"at most {MAX_STEAL_PCT:.0f}"
        detail = f"{idle} ({bounds[0]}), {stolen} ({bounds[1]})"
        return Check("cpu headroom", enough, detail, cause)
    ran = load.balancer.ran_s / load.seconds
    busy = ran + load.balancer.waited_s / load.seconds
    detail = (
        f"{idle}, {stolen}; the balancer ran {ran:.0%} of the time "
        f"and waited for a processor {busy - ran:.0%}"
    )
    return Check("cpu headroom", busy < SATURATED or ran >= SATURATED, detail, cause)


def captures_check(
    dropped: Mapping[str, int], uncaptured: Mapping[str, int], clock_step_s: float
) -> Check:
    """Captures have every packet, every connection that a client had an answer by, and one clock.
    The latter is independent of the former, which is of what passed a capture's filter."""
    lost = {point: count for point, count in dropped.items() if count}
    if lost:
        return Check("captures", False, f"packets lost by capture: {lost}", BUSY)
    missing = {point: count for point, count in uncaptured.items() if count}
    if missing:
        return Check("captures", False, f"connections that were not captured: {missing}")
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
    left_out = [f"{what} at {at_s:g} s was not applied" for what, at_s in wanted[len(times_s) :]]
    detail = "; ".join(problems + left_out) or f"{len(wanted)} applied in time"
    return Check("faults", not problems + left_out, detail, "" if left_out else BUSY)


def sockets_check(drops: Mapping[str, int]) -> Check:
    """No client and no backend lost datagrams for want of a buffer. `drops`: per host."""
    lost = {host: count for host, count in drops.items() if count}
    detail = f"datagrams lost in sockets: {lost}" if lost else "no datagram lost in a socket"
    return Check("sockets", not lost, detail)


def backends_check(
    finals: Mapping[str, Mapping[str, Any]], expected: Iterable[str], *, own_queues: bool = False
) -> Check:
    """Every backend served to the end, and no listen queue overflowed, unless it is the servers'
    `own_queues` that do: then that is a result."""
    missing = [name for name in expected if name not in finals]
    if missing:
        return Check("backends", False, f"no final counters from {', '.join(missing)}")
    drops = {name: final["listen_drops"] for name, final in finals.items() if final["listen_drops"]}
    detail = f"connections dropped at listen: {drops}" if drops else f"{len(finals)} up to the end"
    return Check("backends", own_queues or not drops, detail)


def problems_check(name: str, problems: list[str], detail: str) -> Check:
    """A check that another module made: passed when it found no problem."""
    return Check(name, not problems, "; ".join(problems) or detail)
