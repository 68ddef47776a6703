"""What was asked of a link, what was measured, and whether that is close enough. Pure.

Tolerances are wide enough for a busy machine with two cores and narrow enough that a link which
does not do what it was asked cannot pass.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import binom, kstest, kstwo, nbinom, norm, uniform

from topologies.emulate.method import DirectionCounters
from topologies.shapes.shape import MAX_MBPS, LinkSpec

SCHEMA_VERSION = 1

DELAY_ABSOLUTE_MS = 0.5
DELAY_RELATIVE = 0.10
DELAY_LEAST_MS = 0.3
"""Of the median one-way delay of 20 packets. It is late by the wake-up of one process on a busy
machine (some 0.1 ms, so 0.3 ms are always accepted); a link without its delay is off by all of it.
Never accepted is half of the delay asked, up to 0.5 ms: 0.5 ms of delay are not 1 ms."""

MEDIAN = "median delay"
REORDERED = "packets that overtake"

TWICE = "packets that come twice"

REORDER_FALSE_ALARM = 1e-6
DUPLICATE_FALSE_ALARM = 1e-6
JITTER = "distance from the jitter asked"
JITTER_FALSE_ALARM = 1e-6
"""Of each direction's check. Of 200 packets a third of the jitter fails it, or three times."""

RATE_RELATIVE = 0.10
"""A token bucket keeps its rate within 2 %; the rest is the window of 0.2 s it is observed in."""

UNLIMITED_MBPS = 100.0
"""What a link without a rate is offered, and must carry half of: more would only measure how
fast this machine sends."""

FALSE_ALARMS_PER_RUN = 1e-5
"""All loss checks of a run together reject a sound network this often (Bonferroni over links). The
same seed drops the same packets, so who has an unlucky one is refused at every try: at 1e-3 that
was seed 26 of the first 30 of the main job (0.763 % of 26 858 packets instead of 1 %)."""

LATENESS_MS = 1.0
LATENESS_RELATIVE = 0.05
"""Where precision is wanted (`precision: strict`), 99 of 100 packets leave the emulator this soon
after their time: 1 ms, or 5 % of the delay where that is more. Elsewhere lateness is reported, and
judged by what it adds to a request (experiments/judge/precision.py)."""

BYPASS_SHARE = 0.01
BYPASS_PACKETS = 20
"""Packets on the wire that the emulator did not see: only what is not IPv4, and what is just
between the two counters."""


TOO_LOW, TOO_HIGH = "too low", "too high"
_DISTURBED = {
    MEDIAN: TOO_HIGH,
    REORDERED: TOO_LOW,
    JITTER: TOO_HIGH,
    "rate": TOO_LOW,
    "p99 lateness": TOO_HIGH,
    "overflow": TOO_HIGH,
    "lost by the machine": TOO_HIGH,
}
"""Where a busy machine pushes a value: packets come later and fewer, never sooner, never more. What
is off to the other side, or any other value (loss above all), is the link's own doing."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. `link` is a link, one of its directions, or a host; `low` and `high` are
    inclusive, None where `asked` and `measured` are words that must be equal."""

    link: str
    quantity: str
    asked: float | str | None
    measured: float | str | None
    low: float | None
    high: float | None
    unit: str
    ok: bool

    @property
    def disturbed(self) -> bool:
        """Whether it failed in the one way that a busy machine alone explains."""
        if self.ok or not isinstance(self.measured, float | int):
            return False
        side = TOO_LOW if self.low is not None and self.measured < self.low else TOO_HIGH
        return _DISTURBED.get(self.quantity) == side

    def __str__(self) -> str:
        """One line that a person can act on."""
        bounds = "" if self.low is None else f" ({self.low:.4g} to {self.high:.4g} accepted)"
        return (
            f"{self.link}: {self.quantity} asked {_text(self.asked)}{self.unit}, "
            f"measured {_text(self.measured)}{self.unit}{bounds}"
        )


Attempts = Mapping[str, Mapping[str, Sequence[float | str | None]]]
"""By link, then quantity: every value measured, in order."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Every check so far. `wire_baseline`: what the wires had counted when the run began.

    `attempts`: what was measured more than once; `checks` has the best of them.
    """

    link_method: str
    checks: tuple[Check, ...]
    wire_baseline: Mapping[str, int] = field(default_factory=dict)
    attempts: Attempts = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether every check passed; without any check, nothing is known to be right."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What is wrong, one line per failed check, each naming its link."""
        return [str(check) for check in self.checks if not check.ok]

    @property
    def disturbed(self) -> bool:
        """Whether something failed, and a busy machine explains all of it."""
        return not self.valid and all(check.ok or check.disturbed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For calibration.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "valid": self.valid,
            "reasons": self.reasons,
            "link_method": self.link_method,
            "checks": [asdict(check) for check in self.checks],
            "attempts": {link: dict(tried) for link, tried in self.attempts.items()},
        }


def between(
    link: str,
    quantity: str,
    asked: float | None,
    measured: float | None,
    bounds: tuple[float, float],
    unit: str,
) -> Check:
    """A number that must lie within `bounds`; None measured is never right."""
    low, high = bounds
    ok = measured is not None and low <= measured <= high
    return Check(link, quantity, asked, measured, low, high, unit, ok)


def same(link: str, quantity: str, asked: str, measured: str) -> Check:
    """A word that must be exactly as asked."""
    return Check(link, quantity, asked, measured, None, None, "", asked == measured)


def told(link: str, quantity: str, value: float, unit: str) -> Check:
    """A number that is reported and judged elsewhere: 0 would be best, no bound is set here."""
    return Check(link, quantity, 0, value, None, None, unit, True)


def best(attempts: Sequence[Check]) -> Check:
    """The one that counts of several measurements of the same link and quantity.

    Disturbances are one-sided (`_DISTURBED`), so the least disturbed value is the closest to what
    the link does: the first that passed, or else the nearest to its bounds. A link that does
    something else than it was asked fails each time. One exception makes this sound: a value
    off to the side where no disturbance pushes is final, for what is too fast could be
    slowed into its bounds.
    """
    failed = [row for row in attempts if not row.ok]
    final = [row for row in failed if isinstance(row.measured, float) and not row.disturbed]
    passed = [row for row in attempts if row.ok]
    return (final or passed or sorted(failed, key=_distance))[0]


def worth_repeating(attempts: Sequence[Check]) -> bool:
    """Whether one more measurement may still show that the link is what was asked."""
    so_far = best(attempts)
    return not so_far.ok and (so_far.disturbed or so_far.measured is None)


def repeated(tried: Iterable[Sequence[Check]]) -> Attempts:
    """Of all measurements (each sequence is of one link's quantity) those made more than once."""
    found: dict[str, dict[str, list[float | str | None]]] = {}
    for rows in tried:
        if len(rows) > 1:
            values = [row.measured for row in rows]
            found.setdefault(rows[0].link, {})[rows[0].quantity] = values
    return found


def _distance(row: Check) -> float:
    if not isinstance(row.measured, float) or row.low is None or row.high is None:
        return math.inf
    return max(row.low - row.measured, row.measured - row.high)


def delay_check(direction: str, spec: LinkSpec, delays_ms: Sequence[float]) -> Check:
    """Whether the median of some packets' one-way delays is what was asked."""
    measured = median(delays_ms) if delays_ms else None
    return between(direction, MEDIAN, spec.delay_ms, measured, delay_bounds_ms(spec), " ms")


def delay_bounds_ms(spec: LinkSpec) -> tuple[float, float]:
    """For the median of 20 one-way delays.

    The median of 20 uniform draws from ± jitter has a standard deviation of 0.21 jitter: one jitter
    of allowance is over four of these.
    """
    asked = spec.delay_ms
    most = min(DELAY_ABSOLUTE_MS, max(DELAY_LEAST_MS, asked / 2)) if asked else DELAY_ABSOLUTE_MS
    slack = max(most, DELAY_RELATIVE * asked) + spec.jitter_ms
    return max(0.0, asked - slack), asked + slack


def jitter_check(direction: str, spec: LinkSpec, delays_ms: Sequence[float]) -> Check:
    """Kolmogorov and Smirnov's distance of delays from the distribution asked, uniform within
    ± jitter. Its mean is taken from the data: what the machine adds to all is judged by the median.
    """
    if len(delays_ms) < 2:
        return between(direction, JITTER, 0, None, (0, 0), "")
    centred = np.asarray(delays_ms) - np.mean(delays_ms)
    found = kstest(centred, uniform(loc=-spec.jitter_ms, scale=2 * spec.jitter_ms).cdf)
    bound = float(kstwo.isf(JITTER_FALSE_ALARM, len(delays_ms)))
    return between(direction, JITTER, 0, float(found.statistic), (0, bound), "")


def reorder_check(direction: str, spec: LinkSpec, arrived: int, ahead: int) -> Check:
    """Whether so many of the packets that `arrived` overtook another, in percent."""
    low, high = _binomial_pct(arrived, spec.reorder_pct / 100, REORDER_FALSE_ALARM)
    measured = 100 * ahead / arrived if arrived else None
    return between(direction, REORDERED, spec.reorder_pct, measured, (low, high), " %")


def rate_bounds_mbps(spec: LinkSpec) -> tuple[float, float]:
    """For the rate of a saturated link; without a rate asked, for 100 Mbit/s offered."""
    if spec.rate_mbps is None:
        return UNLIMITED_MBPS / 2, MAX_MBPS
    return spec.rate_mbps * (1 - RATE_RELATIVE), spec.rate_mbps * (1 + RATE_RELATIVE)


def loss_check(
    direction: str, loss_pct: float, seen: int, dropped: int, *, false_alarms: float
) -> Check:
    """Whether `dropped` of `seen` is inside the exact binomial interval of the loss asked.

    `false_alarms` is how often (0 to 1) a sound link may be refused. With no loss asked, nothing
    may be dropped.
    """
    low, high = _binomial_pct(seen, loss_pct / 100, false_alarms)
    return _loss_between(direction, loss_pct, seen, dropped, (low, high))


def _loss_between(
    direction: str, loss_pct: float, seen: int, dropped: int, bounds: tuple[float, float]
) -> Check:
    measured = 100 * dropped / seen if seen else 0.0
    return between(direction, f"loss of {seen} packets", loss_pct, measured, bounds, " %")


def _binomial_pct(count: int, share: float, false_alarms: float) -> tuple[float, float]:
    """Inclusive bounds, in percent of `count`."""
    percent = 100 / count if count else 0.0
    fewest = max(0, int(binom.ppf(false_alarms / 2, count, share)))
    most = max(0, int(binom.isf(false_alarms / 2, count, share)))
    return fewest * percent, most * percent


def fate_checks(
    direction: str, spec: LinkSpec, counted: DirectionCounters, false_alarms: float
) -> list[Check]:
    """Whether loss, and the mean length of bursts or the share of copies, are as asked; where there
    are two quantities, each has half of the `false_alarms`."""
    if spec.loss_burst_packets is not None:
        bounds = _bursty_bounds_pct(spec, counted.seen, false_alarms / 2)
        rows = [_loss_between(direction, spec.loss_pct, counted.seen, counted.dropped, bounds)]
        if counted.bursts:
            burst = spec.loss_burst_packets
            rows.append(_burst_check(direction, burst, counted, false_alarms / 2))
        return rows
    if not spec.duplicate_pct:
        return [_counted_loss(direction, spec.loss_pct, counted, false_alarms)]
    # netem counts copies as packets, and no loss where it takes one of two before they are two.
    lost, two = spec.loss_pct / 100, spec.duplicate_pct / 100
    dropped_pct = 100 * lost * (1 - two * lost) / (1 + two * (1 - lost))
    return [
        _counted_loss(direction, dropped_pct, counted, false_alarms / 2),
        *_copies_check(direction, two * (1 - lost), counted, false_alarms / 2),
    ]


def _counted_loss(
    direction: str, loss_pct: float, counted: DirectionCounters, false_alarms: float
) -> Check:
    return loss_check(direction, loss_pct, counted.seen, counted.dropped, false_alarms=false_alarms)


def _copies_check(
    direction: str, share: float, counted: DirectionCounters, false_alarms: float
) -> list[Check]:
    """Nothing where the kernel does not tell (netem): there calibration's probes have to do."""
    if counted.duplicated is None:
        return []
    came = counted.seen - counted.duplicated
    bounds = _binomial_pct(came, share, false_alarms)
    measured = 100 * counted.duplicated / came if came else 0.0
    return [between(direction, f"copies of {came} packets", 100 * share, measured, bounds, " %")]


def twice_check(direction: str, spec: LinkSpec, different: int, arrived: int) -> Check:
    """Whether so many of the `different` packets that arrived came twice, in percent: `arrived` is
    how many came in all. Both of two must get through the loss; one does in any case."""
    lost, two = spec.loss_pct / 100, spec.duplicate_pct / 100
    share = two * (1 - lost) ** 2 / ((1 - two) * (1 - lost) + two)
    bounds = _binomial_pct(different, share, DUPLICATE_FALSE_ALARM)
    measured = 100 * (arrived - different) / different if different else None
    return between(direction, TWICE, 100 * share, measured, bounds, " %")


def _bursty_bounds_pct(spec: LinkSpec, seen: int, false_alarms: float) -> tuple[float, float]:
    """By the central limit theorem for a chain of two states, whose states of n steps vary by
    n p (1 - p) (1 + c) / (1 - c), c being their correlation from one step to the next; and two
    bursts besides, since a burst more or less is no sum of many."""
    assert spec.loss_burst_packets is not None
    lost, ends = spec.loss_pct / 100, 1 / spec.loss_burst_packets
    correlation = 1 - ends - ends * lost / (1 - lost)
    variance = seen * lost * (1 - lost) * (1 + correlation) / (1 - correlation)
    wide = float(norm.isf(false_alarms / 2)) * math.sqrt(variance) + 2 * spec.loss_burst_packets
    percent = 100 / seen if seen else 0.0
    return max(0.0, (seen * lost - wide) * percent), (seen * lost + wide) * percent


def _burst_check(
    direction: str, asked: float, counted: DirectionCounters, false_alarms: float
) -> Check:
    """Lengths of bursts are geometric, so all packets lost beyond the first of each burst are
    negative binomial; the last burst may not have ended."""
    bursts = counted.bursts or 0
    beyond = nbinom(bursts, 1 / asked)
    low = float(bursts + beyond.ppf(false_alarms / 2) - asked) / bursts
    high = float(bursts + beyond.isf(false_alarms / 2)) / bursts
    measured = counted.dropped / bursts
    return between(direction, f"mean of {bursts} bursts", asked, measured, (low, high), " packets")


def lateness_bound_ms(spec: LinkSpec) -> float:
    """The most that the 99th percentile of lateness may be."""
    return max(LATENESS_MS, LATENESS_RELATIVE * spec.delay_ms)


def bypass_bound(packets: int) -> float:
    """How many of `packets` on the wire may be unknown to the emulator."""
    return BYPASS_PACKETS + BYPASS_SHARE * packets


def _text(value: float | str | None) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else f"{value:.4g}"
