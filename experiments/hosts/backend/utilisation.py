"""How busy an emulated backend was between two moments, as a load report says it. Pure.

All four are measured, in percent of what there is:

- `cpu`: the share of the emulated servers' time that was spent serving
- `mem`: how full the queue is, the only thing that grows in an emulated server
- `net`: bytes of the busier direction against the rate of the backend's link
- `io`: 0; an emulated server has no disk
"""

from typing import NamedTuple

REFERENCE_MBPS = 1000.0
"""What `net` is measured against where the backend's link has no rate."""


class Reading(NamedTuple):
    """Counters of one moment."""

    t_s: float
    """Real time."""
    work_s: float
    """Work time (experiments/hosts/backend/speed_clock.py)."""
    busy_time_s: float
    """Service given so far, in work time, summed over the servers."""
    bytes_received: int
    bytes_sent: int


class Capacity(NamedTuple):
    """What there is."""

    servers: int
    queue_limit: int
    mbps: float
    """Of the backend's link, each direction."""


def utilisation(
    before: Reading, now: Reading, queue_length: int, capacity: Capacity
) -> dict[str, float]:
    """`cpu`, `mem`, `net`, `io` between two readings; `queue_length` is that of now."""
    moved = max(now.bytes_received - before.bytes_received, now.bytes_sent - before.bytes_sent)
    busy_s = now.busy_time_s - before.busy_time_s
    return {
        "cpu": _percent(busy_s, capacity.servers * (now.work_s - before.work_s)),
        "mem": _percent(queue_length, capacity.queue_limit),
        "net": _percent(moved * 8e-6, capacity.mbps * (now.t_s - before.t_s)),
        "io": 0.0,
    }


def _percent(part: float, whole: float) -> float:
    """0 of nothing; never outside 0 to 100, whatever the counters' last digits say."""
    return min(100.0, max(0.0, 100.0 * part / whole)) if whole > 0 else 0.0
