"""What was asked of a link, what was measured, and whether that is close enough. Pure.

Tolerances are wide enough for a busy machine with two cores and narrow enough that a link which
does not do what it was asked cannot pass.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.stats import binom

from topologies.shape import MAX_MBPS, LinkSpec

SCHEMA_VERSION = 1

RTT_ABSOLUTE_MS = 1.0
RTT_RELATIVE = 0.10
"""A median of 20 round trips is late by the wake-ups of two processes on a busy machine (some
0.1 ms); a link without its delay is off by all of it, so this catches every delay above 1 ms."""

RATE_RELATIVE = 0.10
"""A token bucket keeps its rate within 2 %; the rest is the window of 0.2 s it is observed in."""

UNLIMITED_MBPS = 100.0
"""What a link without a rate is offered, and must carry half of: more would only measure how
fast this machine sends."""

FALSE_ALARMS_PER_RUN = 0.001
"""All loss checks of a run together reject a sound network this often (Bonferroni over links)."""

LATENESS_MS = 1.0
LATENESS_RELATIVE = 0.05
"""99 of 100 packets leave the emulator this soon after their time, or the links' delays are not
what the axis says: 1 ms, or 5 % of the delay where that is more."""

BYPASS_SHARE = 0.01
BYPASS_PACKETS = 20
"""Packets on the wire that the emulator did not see: only what is not IPv4, and what is just
between the two counters."""


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

    def __str__(self) -> str:
        """One line that a person can act on."""
        bounds = "" if self.low is None else f" ({self.low:.4g} to {self.high:.4g} accepted)"
        return (
            f"{self.link}: {self.quantity} asked {_text(self.asked)}{self.unit}, "
            f"measured {_text(self.measured)}{self.unit}{bounds}"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Every check so far. `wire_baseline`: what the wires had counted when the run began."""

    link_method: str
    checks: tuple[Check, ...]
    wire_baseline: Mapping[str, int] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether every check passed; without any check, nothing is known to be right."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What is wrong, one line per failed check, each naming its link."""
        return [str(check) for check in self.checks if not check.ok]

    def to_json(self) -> dict[str, Any]:
        """For calibration.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "valid": self.valid,
            "reasons": self.reasons,
            "link_method": self.link_method,
            "checks": [asdict(check) for check in self.checks],
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


def rtt_bounds_ms(spec: LinkSpec) -> tuple[float, float]:
    """For the median of 20 pings to a host at the switch, over this one link there and back.

    The sum of two uniform draws from ± jitter has a standard deviation of 0.82 jitter, the median
    of 20 such sums 0.23 jitter: one jitter of allowance is over four of these.
    """
    asked = 2 * spec.delay_ms
    slack = max(RTT_ABSOLUTE_MS, RTT_RELATIVE * asked) + spec.jitter_ms
    return max(0.0, asked - slack), asked + slack


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
    tail = false_alarms / 2
    share = loss_pct / 100
    fewest = max(0, int(binom.ppf(tail, seen, share)))
    most = max(0, int(binom.isf(tail, seen, share)))
    percent = 100 / seen if seen else 0.0
    return Check(
        direction,
        f"loss of {seen} packets",
        loss_pct,
        dropped * percent,
        fewest * percent,
        most * percent,
        " %",
        fewest <= dropped <= most,
    )


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
